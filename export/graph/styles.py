"""Writes the style layers of the graph: unchanged, folded into piecewise linear functions of t, or as constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fxsr.export.graph.bake import BakedNetwork
from fxsr.export.graph.rewrites import Array, StyleCurve, style_curve
from fxsr.export.graph.writer import GraphWriter
from fxsr.models.config import COND_SLOPE, NetworkConfig, sft_layers

if TYPE_CHECKING:
    import onnx_ir as ir

    Modulation: TypeAlias = tuple[ir.Value, ir.Value]
    """The factor and the summand of an SFT layer."""

ConvWeights: TypeAlias = tuple[Array, Array]
"""A convolution's kernel and bias."""

_BLOCK = 16
"""Numbers of channels must be multiples of this for ONNX Runtime's blocked CPU layout, which holds 8 channels side by
side with AVX2 and 16 with AVX-512."""


class StyleLayers:
    """Writes SFT layers, y = scale * x + shift.

    Args:
        writer: writes the graph.
        config: the network.
        weights: the checkpoint's weights.
        folded: write each layer as a piecewise linear function of t (`fxsr.export.graph.rewrites.style_curve`).
        blocked: let ONNX Runtime's CPU provider stay in its blocked layout, which it leaves for operands of different
            sizes: styles and constants then have the image's size. This costs other runtimes time.
        baked: the network at a fixed style. Its weights are not used here.
    """

    def __init__(
        self,
        writer: GraphWriter,
        config: NetworkConfig,
        weights: Mapping[str, Array],
        folded: bool,
        blocked: bool,
        baked: BakedNetwork | None,
    ) -> None:
        self._writer = writer
        self._config = config
        self._weights = weights
        self._folded = folded
        self._blocked = blocked
        self._baked = baked
        self._styles: dict[str, Modulation] = {}

    def prepare(self, t_map: ir.Value | None, lr: ir.Value) -> None:
        """Write the nodes that depend on the style alone. `t_map` is required unless the style is fixed.

        They must come before the trunk: ONNX Runtime orders nodes by walking back from the output, visiting the last
        operand first, so this order makes it compute each style right before its use. Otherwise it would compute and
        hold the styles of all layers first (1.4 GB more at 128x128).
        """
        if t_map is None:
            return
        w = self._writer
        if self._folded:
            source = w.spread(t_map, lr, "t_map.spread") if self._blocked else t_map
            self._styles = {sft: self._folded_style(source, sft) for sft in sft_layers(self._config)}
        else:
            cond = self._conv(w.leaky(self._conv(t_map, "CondNet.0"), COND_SLOPE), "CondNet.2")
            self._styles = {sft: self._plain_style(cond, sft) for sft in sft_layers(self._config)}

    def apply(self, x: ir.Value, sft: str) -> ir.Value:
        """The layer's output."""
        if self._baked is not None:
            return self.affine(x, sft, self._baked.scales.get(sft), self._baked.shifts[sft])
        w = self._writer
        scale, shift = self._styles[sft]
        if self._blocked:
            for each in (x, scale, shift):
                w.announce(each, ("n", len(self._weights[f"{sft}.SFT_shift_conv1.bias"]), "h", "w"))
        return w.add(w.mul(x, scale, f"{sft}.mul"), shift, f"{sft}.add")

    def affine(self, x: ir.Value, name: str, scale: Array | None, shift: Array | None = None) -> ir.Value:
        """Write `scale * x + shift` with constants per channel."""
        w = self._writer
        if self._blocked:
            (channels,) = next(each.shape for each in (scale, shift) if each is not None)
            kernel = np.ones(channels, np.float32) if scale is None else scale
            bias = np.zeros(channels, np.float32) if shift is None else shift
            return w.conv(x, f"{name}.affine", kernel[:, None, None, None], bias, group=channels)
        if scale is not None:
            x = w.mul(x, w.constant(f"{name}.scale", scale[None, :, None, None]), f"{name}.mul")
        if shift is not None:
            x = w.add(x, w.constant(f"{name}.shift", shift[None, :, None, None]), f"{name}.add")
        return x

    def _folded_style(self, t_map: ir.Value, sft: str) -> Modulation:
        w = self._writer
        curves = [style_curve(self._weights, branch) for branch in _branches(sft)]
        count = max(len(curve.knots) for curve in curves)
        if self._blocked:
            count += -count % _BLOCK
        hidden, plain = zip(*(_curve_layers(curve, count) for curve in curves), strict=True)
        last = _with_one(plain)
        if not self._blocked:
            return self._split(w.relu(w.conv(t_map, f"{sft}.knots", *_stacked(hidden))), sft, last)
        scale, shift = (
            w.conv(w.relu(w.conv(t_map, f"{branch}.knots", *knots)), f"{branch}.curve", *curve)
            for branch, knots, curve in zip(_branches(sft), hidden, last, strict=True)
        )
        return scale, shift

    def _plain_style(self, cond: ir.Value, sft: str) -> Modulation:
        w = self._writer
        hidden, last = ([self._layer(f"{branch}_conv{number}") for branch in _branches(sft)] for number in (0, 1))
        x = w.leaky(w.conv(cond, f"{sft}.conv0", *_stacked(hidden)), COND_SLOPE)
        return self._split(x, sft, _with_one(last))

    def _split(self, hidden: ir.Value, sft: str, last: Sequence[ConvWeights]) -> Modulation:
        """Both branches' last convolutions in one node, and its output split: a single node before the trunk."""
        kernel, bias = _stacked(last)
        x = self._writer.conv(hidden, f"{sft}.conv1", kernel, bias, group=2)
        scale, shift = self._writer.split(x, f"{sft}.style", (len(bias) // 2,) * 2)
        return scale, shift

    def _conv(self, x: ir.Value, name: str) -> ir.Value:
        return self._writer.conv(x, name, *self._layer(name))

    def _layer(self, name: str) -> ConvWeights:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]


def _branches(sft: str) -> tuple[str, str]:
    return f"{sft}.SFT_scale", f"{sft}.SFT_shift"


def _stacked(layers: Sequence[ConvWeights]) -> ConvWeights:
    """One convolution that computes all of these."""
    kernel, bias = (np.concatenate(parts) for parts in zip(*layers, strict=True))
    return kernel, bias


def _with_one(last: Sequence[ConvWeights]) -> list[ConvWeights]:
    """The last layers of the scale and shift branches, with 1 added to the scale."""
    (kernel, bias), shift = last
    return [(kernel, bias + 1), shift]


def _curve_layers(curve: StyleCurve, count: int) -> tuple[ConvWeights, ConvWeights]:
    """Two convolutions with a ReLU between them that compute a style curve, with `count` hidden channels."""
    idle = count - len(curve.knots)
    knots = np.pad(curve.knots, (0, idle), constant_values=1).astype(np.float32)
    slopes = np.pad(curve.slopes, ((0, 0), (0, idle))).astype(np.float32)
    hidden = np.ones((count, 1, 1, 1), np.float32), -knots
    return hidden, (slopes[:, :, None, None], curve.start.astype(np.float32))
