"""One style for good: the style layers' scales and shifts are constants then, and go into the neighbouring weights.

An SFT layer y = scale * x + shift becomes, exactly and without a division by what may be zero:

- behind a convolution and an activation f with f(a x) = a f(x) for a >= 0 (leaky or plain ReLU): |scale| goes into the
  weights before f, its sign into those of the layers that read y. The shift, times that sign, stays an addition.
- in front of a block's first convolution, where others need x as it is: the scale goes into that convolution, and
  shift / scale stays an addition. Where a scale is next to nothing, multiplication and addition both stay.

Folding a shift into the bias of the convolution that reads y would be wrong at the borders: beyond them that
convolution sees zeros, not shifts. `esrgan_weights` does it nevertheless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fxsr.errors import UsageError
from fxsr.export.graph.rewrites import Array, Exact, style_curve
from fxsr.models.config import NetworkConfig, is_style, sft_layers

_NOTHING = 1e-6
"""Scales below this share of the shift are not divided by."""


@dataclass(frozen=True)
class BakedNetwork:
    """A network at one style."""

    weights: Mapping[str, Array]
    """Of the convolutions; style layers have none left."""
    scales: Mapping[str, Array]
    """By SFT layer: what it still multiplies by. Most layers are not in it."""
    shifts: Mapping[str, Array]
    """By SFT layer: what it adds, per channel."""


def bake(config: NetworkConfig, weights: Mapping[str, Array], t: float) -> BakedNetwork:
    """Fix the style at `t`.

    Args:
        config: the network.
        weights: its checkpoint's.
        t: style in 0..1.
    """
    exact = {key: value.astype(np.float64) for key, value in weights.items() if not is_style(key)}
    scales: dict[str, Array] = {}
    shifts: dict[str, Array] = {}
    for sft in sft_layers(config):
        scale, shift = modulation(weights, sft, t)
        block, layer = sft.rsplit(".sft", 1)
        if layer == "0":
            first = f"{block}.conv1" if config.trunk == "rrdb" else f"{block}.conv0"
            if (np.abs(scale) <= _NOTHING * np.maximum(1, np.abs(shift))).any():
                scales[sft], shifts[sft] = scale.astype(np.float32), shift.astype(np.float32)
                continue
            exact[f"{first}.weight"] = exact[f"{first}.weight"] * scale[None, :, None, None]
            shifts[sft] = (shift / scale).astype(np.float32)
            continue
        number = int(layer)
        before = f"{block}.conv{number}" if config.trunk == "rrdb" else f"{block}.conv0"
        sign = np.where(scale < 0, -1.0, 1.0)
        exact[f"{before}.weight"] = exact[f"{before}.weight"] * np.abs(scale)[:, None, None, None]
        exact[f"{before}.bias"] = exact[f"{before}.bias"] * np.abs(scale)
        for reader, channels in _readers(config, block, number):
            exact[f"{reader}.weight"] = exact[f"{reader}.weight"].copy()
            exact[f"{reader}.weight"][:, channels] *= sign[None, :, None, None]
        shifts[sft] = (sign * shift).astype(np.float32)
    return BakedNetwork({key: value.astype(np.float32) for key, value in exact.items()}, scales, shifts)


def modulation(weights: Mapping[str, Array], sft: str, t: float) -> tuple[Exact, Exact]:
    """What an SFT layer multiplies by and adds at `t`, per channel."""
    scale, shift = (style_curve(weights, f"{sft}.SFT_{part}").at(t) for part in ("scale", "shift"))
    return scale + 1, shift


def esrgan_weights(config: NetworkConfig, baked: BakedNetwork) -> dict[str, Array]:
    """A plain ESRGAN's weights, under the names of its first release: the shifts are in its biases.

    Raises:
        UsageError: the network is not an ESRGAN without its style layers, or can't be made one at this style.
    """
    if config.trunk != "rrdb":
        raise UsageError("--esrgan: its trunk is of RRDBs, this network's is not")
    if baked.scales:
        raise UsageError("--esrgan: a style layer's scale is zero at this t; choose another t")
    plain = {key: value.astype(np.float64) for key, value in baked.weights.items()}
    for sft, shift in baked.shifts.items():
        block, layer = sft.rsplit(".sft", 1)
        readers = [(f"{block}.conv1", slice(None))] if layer == "0" else _readers(config, block, int(layer))
        for reader, channels in readers:
            kernel = plain[f"{reader}.weight"][:, channels].sum((2, 3))
            plain[f"{reader}.bias"] = plain[f"{reader}.bias"] + kernel @ shift
    return {key: value.astype(np.float32) for key, value in plain.items()}


def _readers(config: NetworkConfig, block: str, layer: int) -> list[tuple[str, slice]]:
    """Convolutions that read the output of a block's SFT layer, 1 or higher, and in which channels of theirs."""
    if config.trunk == "rb":
        return [(f"{block}.conv1", slice(None))]
    begin = config.nf + (layer - 1) * config.gc
    return [(f"{block}.conv{reader}", slice(begin, begin + config.gc)) for reader in range(layer + 1, 6)]
