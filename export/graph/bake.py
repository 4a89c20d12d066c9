"""Fixes the style: the style layers' scales and shifts become constants, which are folded into neighbouring weights.

An SFT layer y = scale * x + shift becomes, exactly and without dividing by values that may be zero:

- after a convolution and an activation f with f(a x) = a f(x) for a >= 0 (leaky or plain ReLU): |scale| goes into the
  weights before f, and its sign into those of the layers that read y. The shift, times that sign, stays an addition.
- before a block's first convolution, where other layers need the unscaled x: the scale goes into that convolution, and
  shift / scale stays an addition. If a scale is almost zero, both multiplication and addition stay.

Folding a shift into the bias of the convolution that reads y would be wrong at the borders, where that convolution sees
zero padding without the shift. `esrgan_weights` does it nevertheless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fxsr.errors import UsageError
from fxsr.export.graph.rewrites import Array, Exact, style_curve
from fxsr.models.config import NetworkConfig, is_style, sft_layers

_MIN_SCALE = 1e-6
"""Smallest scale, relative to the shift, that is used as a divisor."""


@dataclass(frozen=True)
class BakedNetwork:
    """A network at one style."""

    weights: Mapping[str, Array]
    """Weights of the convolutions. Style layers have none left."""
    scales: Mapping[str, Array]
    """For each SFT layer that still multiplies, its factors per channel. Most layers don't."""
    shifts: Mapping[str, Array]
    """For each SFT layer, what it adds per channel."""


def bake(config: NetworkConfig, weights: Mapping[str, Array], t: float) -> BakedNetwork:
    """Fix the style at `t`.

    Args:
        config: the network.
        weights: the checkpoint's weights.
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
            if (np.abs(scale) <= _MIN_SCALE * np.maximum(1, np.abs(shift))).any():
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
    """The factor and the summand of an SFT layer at `t`, (channels,) each."""
    scale, shift = (style_curve(weights, f"{sft}.SFT_{part}").at(t) for part in ("scale", "shift"))
    return scale + 1, shift


def esrgan_weights(config: NetworkConfig, baked: BakedNetwork) -> dict[str, Array]:
    """Weights of a plain ESRGAN with the parameter names of its first release. The shifts are folded into biases.

    Raises:
        UsageError: the network without style layers is no ESRGAN, or this style can't be folded.
    """
    if config.trunk != "rrdb":
        raise UsageError("--esrgan: an ESRGAN has a trunk of RRDBs, this network has none")
    if baked.scales:
        raise UsageError("--esrgan: a style layer's scale is zero at this t; choose another --bake-t")
    plain = {key: value.astype(np.float64) for key, value in baked.weights.items()}
    for sft, shift in baked.shifts.items():
        block, layer = sft.rsplit(".sft", 1)
        readers = [(f"{block}.conv1", slice(None))] if layer == "0" else _readers(config, block, int(layer))
        for reader, channels in readers:
            kernel = plain[f"{reader}.weight"][:, channels].sum((2, 3))
            plain[f"{reader}.bias"] = plain[f"{reader}.bias"] + kernel @ shift
    return {key: value.astype(np.float32) for key, value in plain.items()}


def _readers(config: NetworkConfig, block: str, layer: int) -> list[tuple[str, slice]]:
    """Convolutions that read the output of a block's SFT layer (1 or higher), and the input channels that it fills."""
    if config.trunk == "rb":
        return [(f"{block}.conv1", slice(None))]
    begin = config.nf + (layer - 1) * config.gc
    return [(f"{block}.conv{reader}", slice(begin, begin + config.gc)) for reader in range(layer + 1, 6)]
