"""Reading and writing the generator's weights.

Reads the authors' `.pth` files (a bare state dict, or one wrapped as `params_ema`, `params`, ...; with or without a
`module.` prefix) and this project's `.safetensors`. Writes safetensors. Code inside a pickle is never run, and sizes
are checked before anything is read: see `torch_file`, `torch_pickle` and `safetensors_file`.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, UsageError, first_line
from fxsr.files import atomic_path, sha256
from fxsr.models.config import RESIDUAL_SCALE, USER_TRUNK, NetworkConfig, check_shapes, infer_config, is_style
from fxsr.models.esrgan_names import first_release_names
from fxsr.models.safetensors_file import read_safetensors
from fxsr.models.stored import WeightsFile, check_plain, read_floats
from fxsr.models.torch_file import read_torch

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_HEADER = "fxsr"
"""Key of this project's entry in the metadata of a safetensors file."""
_TRAINING = "fxsr.recipe"
"""Key of the training recipe there."""
_CONSENT = "FXSR_RUN_CODE"
"""Environment variable that permits to run the code of users that checkpoints name."""


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
    """
    path = Path(path)
    file, about, training = _read(path)
    with _named(path):
        check_plain(file.tensors)
        config = _config(
            _shapes(file), training
        )  # before values are read: the file may be huge, and of another network
        weights = _finite(read_floats(file.tensors))
    return Checkpoint(config, weights, about, digest or sha256(path), training)


def load_arrays(path: Path | str) -> Weights:
    """The tensors of any network, by name, as float32.

    Raises:
        CheckpointError: the file can't be read, is damaged, or holds something else.
    """
    path = Path(path)
    file = _read(path)[0]
    with _named(path):
        check_plain(file.tensors)
        return _finite(read_floats(file.tensors))


def load_start(path: Path | str, config: NetworkConfig, fresh: Weights, grow: bool = True) -> Weights:
    """Weights to start training a network of `config` from.

    Args:
        path: a checkpoint of such a network; or of one with fewer blocks, after which blocks of `fresh` are added such
            that they change nothing yet; or of an RRDB network without style layers (ESRGAN, under any of its
            names), to which the style layers of `fresh` are added.
        config: the network.
        fresh: untrained weights of that network.
        grow: False: a network with fewer blocks is refused.

    Raises:
        CheckpointError: the file holds another network; the message names the parameters that differ.
    """
    return start_from(load_arrays(path), config, fresh, str(path), grow)


def start_from(state: Weights, config: NetworkConfig, fresh: Weights, name: str, grow: bool = True) -> Weights:
    """The same as `load_start`, for weights that have been read already; `name` begins its messages."""
    without_styles = not any(map(is_style, state))
    if without_styles:
        state = first_release_names(state)
    if lacking := _lacking(state, config):
        if not grow:
            raise CheckpointError(
                f"{name}: has {lacking[0]} blocks; where styles alone learn, none can be added: set network.nb"
            )
        state = _grown(state, config, fresh, lacking)
    if without_styles:
        state = {key: value for key, value in fresh.items() if is_style(key)} | dict(state)
    try:
        check_shapes(config, {key: tuple(value.shape) for key, value in state.items()})
        return _finite(state)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _lacking(state: Weights, config: NetworkConfig) -> list[int]:
    """Numbers of the blocks that a network with fewer blocks lacks; empty for other networks."""
    if config.user_code or "trunk_conv.weight" not in state:
        return []
    lacking = [index for index in range(config.nb) if not any(key.startswith(_block(config, index)) for key in state)]
    return lacking if lacking and lacking[0] else []


def _grown(state: Weights, config: NetworkConfig, fresh: Weights, lacking: Sequence[int]) -> Weights:
    """Add blocks of `fresh` that `state` lacks, such that the network still computes the same."""
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
    from safetensors.numpy import save

    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(f"{path}: checkpoints are written as .safetensors")
    check_shapes(checkpoint.config, {key: value.shape for key, value in checkpoint.weights.items()})
    tensors = {key: np.ascontiguousarray(value) for key, value in checkpoint.weights.items()}
    metadata = {_HEADER: json.dumps(vars(checkpoint.about))}
    if checkpoint.training:
        metadata[_TRAINING] = checkpoint.training
    with atomic_path(path, durable=True) as temporary:
        temporary.write_bytes(save(tensors, metadata))  # its `save_file` loses the error of a full disk


def _read(path: Path) -> tuple[WeightsFile, About, str]:
    """What a file holds, with keys without prefix, what it says about itself, and its recipe."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix.lower() != ".safetensors":
        file, about, training = read_torch(path), About(name=path.stem.lower()), ""
    else:
        file = read_safetensors(path)
        about, training = _about(path, file.metadata), _training(path, file.metadata)
    tensors = {key.removeprefix("module."): tensor for key, tensor in file.tensors.items()}
    return replace(file, tensors=tensors), about, training


def _training(path: Path, metadata: Mapping[str, str]) -> str:
    training = metadata.get(_TRAINING, "")
    try:
        json.loads(training or "null")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its recipe is damaged ({first_line(error)})") from error
    return training


def _config(shapes: Mapping[str, tuple[int, ...]], training: str) -> NetworkConfig:
    """The network's config: that of the recipe if its trunk is code of a user, otherwise inferred from the shapes."""
    if not any(key.startswith(f"{USER_TRUNK}.") for key in shapes):
        return infer_config(shapes)
    try:
        config = msgspec.convert(json.loads(training)["network"], NetworkConfig)
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise CheckpointError("its trunk is code of a user, and it carries no recipe that names this code") from error
    if os.environ.get(_CONSENT) != "1":
        raise CheckpointError(f"its trunk is the code {config.trunk}; set {_CONSENT}=1 if you trust it, to let it run")
    check_shapes(config, shapes)
    return config


def _about(path: Path, metadata: Mapping[str, str]) -> About:
    header = metadata.get(_HEADER)
    try:
        return msgspec.json.decode(header, type=About) if header else About(name=path.stem.lower())
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its fxsr header is damaged ({first_line(error)})") from error


def own_name(path: Path) -> str:
    """A checkpoint's own name. Reads no weights.

    Raises:
        CheckpointError: not a readable file.
    """
    if path.suffix.lower() != ".safetensors":
        return path.stem.lower()
    return _about(path, read_safetensors(path).metadata).name


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Begin the messages of errors with the file."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (OSError, MemoryError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CheckpointError(f"{path}: its weights can't be read ({first_line(error)}); get the file again") from error


def _shapes(file: WeightsFile) -> dict[str, tuple[int, ...]]:
    return {key: tensor.shape for key, tensor in file.tensors.items()}


def _finite(weights: Weights) -> Weights:
    """The same weights, which are refused if one is NaN or infinity."""
    bad = [key for key, value in weights.items() if not np.isfinite(value).all()]
    if bad:
        raise CheckpointError(f"{len(bad)} parameters hold NaN or infinity, the first is {bad[0]}")
    return weights
