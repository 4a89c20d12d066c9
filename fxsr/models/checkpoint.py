"""Reading and writing the generator's weights.

Reads the authors' `.pth` files (a bare state dict, or one wrapped as `params_ema`, `params`, ...; with or without a
`module.` prefix) and this project's `.safetensors`. Writes safetensors. Code inside a pickle is never run.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, first_line
from fxsr.extras import needs
from fxsr.files import atomic_path, sha256
from fxsr.models.config import RESIDUAL_SCALE, NetworkConfig, check_shapes, infer_config, is_style

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "generator", "model")
_HEADER = "fxsr"
"""Key of this project's entry in the metadata of a safetensors file."""
_TRAINING = "fxsr.recipe"
"""Key of the training recipe there."""


@dataclass(frozen=True)
class About:
    """What a checkpoint says about itself, apart from its weights."""

    name: str = "fxsr"
    """Model name, used for file names."""
    variant: str = "unknown"
    """Training variant: "pd", "ds", "srot", "l1", ... """
    recipe: str = ""
    """How it was trained, in words or as a recipe's name."""
    licence: str = "unknown"
    """Licence of the weights."""


@dataclass(frozen=True)
class Checkpoint:
    """A generator's weights, and what is known about them."""

    config: NetworkConfig
    weights: Weights = field(repr=False)
    """Every parameter of `fxsr.models.config.state_shapes(config)`, float32."""
    about: About = About()
    digest: str = ""
    """SHA-256 of the file that it was read from; empty for a checkpoint made in memory."""
    training: str = field(default="", repr=False)
    """The complete recipe, as JSON; empty if it is unknown. See `fxsr.training.recipe`."""


def load_checkpoint(path: Path | str, digest: str | None = None) -> Checkpoint:
    """Read a checkpoint and infer the network's config from it.

    Args:
        path: a `.safetensors` file, or a file that torch reads.
        digest: the file's SHA-256, if the caller has computed it. None: compute it here.

    Raises:
        CheckpointError: this is no readable file of FxSR weights; the message says why.
        MissingExtraError: the file needs a package that is not installed.
    """
    path = Path(path)
    state, about, training = _read(path)
    try:
        config = infer_config({key: tuple(value.shape) for key, value in state.items()})
        _check_finite(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(config, state, about, digest or sha256(path), training)


def load_start(path: Path | str, config: NetworkConfig, fresh: Weights) -> Weights:
    """Weights to start training a network of `config` from.

    Args:
        path: a checkpoint of such a network; or of one with fewer blocks, after which blocks of `fresh` are added such
            that they change nothing yet; or of an RRDB network without style layers (ESRGAN, under the names of its
            first release), to which the style layers of `fresh` are added.
        config: the network.
        fresh: untrained weights of that network.

    Raises:
        CheckpointError: the file holds another network; the message names the parameters that differ.
    """
    return start_from(_read(Path(path))[0], config, fresh, str(path))


def start_from(state: Weights, config: NetworkConfig, fresh: Weights, name: str) -> Weights:
    """As `load_start`, of weights that are read already; `name` is for messages."""
    if not any(map(is_style, state)):
        state = {key: value for key, value in fresh.items() if is_style(key)} | dict(state)
    state = _grown(state, config, fresh)
    try:
        check_shapes(config, {key: tuple(value.shape) for key, value in state.items()})
        _check_finite(state)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return state


def _grown(state: Weights, config: NetworkConfig, fresh: Weights) -> Weights:
    """Add the blocks of `fresh` that `state` lacks, such that the network still computes the same."""
    lacking = [index for index in range(config.nb) if not any(key.startswith(_block(config, index)) for key in state)]
    if not lacking or lacking[0] == 0 or "trunk_conv.weight" not in state:
        return state
    grown = dict(state)
    for key, value in fresh.items():
        if key.startswith(tuple(_block(config, index) for index in lacking)):
            last = key.split(".")[-2] == ("conv5" if config.trunk == "rrdb" else "conv1")
            grown[key] = np.zeros_like(value) if last else value
    if config.trunk == "rrdb":  # a block whose dense blocks do nothing computes x * RESIDUAL_SCALE + x
        factor = np.float32((1 + RESIDUAL_SCALE) ** -len(lacking))
        grown["trunk_conv.weight"] = state["trunk_conv.weight"] * factor
    return grown


def _block(config: NetworkConfig, index: int) -> str:
    return f"{config.trunk_name}.{index}."


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a `.safetensors` file, whole or not at all.

    Raises:
        CheckpointError: the weights are not those of `checkpoint.config`.
        FxsrError: the file can't be written.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(f"{path}: checkpoints are written as .safetensors")
    check_shapes(checkpoint.config, {key: value.shape for key, value in checkpoint.weights.items()})
    tensors = {key: np.ascontiguousarray(value) for key, value in checkpoint.weights.items()}
    metadata = {_HEADER: json.dumps(vars(checkpoint.about))}
    if checkpoint.training:
        metadata[_TRAINING] = checkpoint.training
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _read(path: Path) -> tuple[dict[str, NDArray[np.float32]], About, str]:
    """The state dict without prefix, what the file says about itself, and its recipe."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix.lower() == ".safetensors":
        state, about, training = _read_safetensors(path)
    else:
        state, about, training = _read_pickle(path), About(name=path.stem.lower()), ""
    return {key.removeprefix("module."): value for key, value in state.items()}, about, training


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.float32]], About, str]:
    with _open_safetensors(path) as file:
        metadata = file.metadata() or {}
        state = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}  # noqa: SIM118
    training = metadata.get(_TRAINING, "")
    try:
        json.loads(training or "null")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its recipe is damaged ({first_line(error)})") from error
    return state, _about(path, metadata), training


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({first_line(error)})") from error


def _about(path: Path, metadata: Mapping[str, str]) -> About:
    header = metadata.get(_HEADER)
    try:
        return msgspec.json.decode(header, type=About) if header else About(name=path.stem.lower())
    except (msgspec.DecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: its fxsr header is damaged ({first_line(error)})") from error


def own_name(path: Path) -> str:
    """A checkpoint's own name. Reads no weights.

    Raises:
        CheckpointError: not a readable file.
    """
    if path.suffix.lower() != ".safetensors":
        return path.stem.lower()
    with _open_safetensors(path) as file:
        return _about(path, file.metadata() or {}).name


def _read_pickle(path: Path) -> dict[str, NDArray[np.float32]]:
    with needs("export"):
        import torch
    with path.open("rb") as file:
        is_pickle = file.read(1) == b"\x80"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols
            # weights_only: a pickle that holds anything but tensors and plain containers is refused, not run.
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower() or is_pickle:
            raise CheckpointError(
                f"{path}: refused, since it holds code or objects other than tensors, which are never run; "
                "ask its maker for the bare state dict"
            ) from error
        raise CheckpointError(f"{path}: not a PyTorch checkpoint, or a damaged one") from error
    except Exception as error:  # torch raises errors of many classes on damaged files
        raise CheckpointError(f"{path}: not a PyTorch checkpoint, or a truncated one ({first_line(error)})") from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__} instead of a state dict")
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors; its entries are {', '.join(map(str, list(loaded)[:5]))}")
    for key, value in tensors.items():
        if value.layout != torch.strided or value.is_meta or value.is_complex():
            raise CheckpointError(f"{path}: {key} is not a plain array of real numbers")
    return {key: value.detach().to(torch.float32).numpy() for key, value in tensors.items()}


def _check_finite(state: Mapping[str, NDArray[np.float32]]) -> None:
    bad = [key for key, value in state.items() if not np.isfinite(value).all()]
    if bad:
        raise CheckpointError(f"{len(bad)} parameters hold NaN or infinity, the first is {bad[0]}")
