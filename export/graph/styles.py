"""The style layers of the graph: as they are, folded into polylines of t, or the constants that baking leaves."""

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

    Style: TypeAlias = tuple[ir.Value, ir.Value]
    """What a layer multiplies by and adds."""

Layer: TypeAlias = tuple[Array, Array]
"""A convolution's kernel and bias."""

_BLOCK = 16
"""A multiple of as many channels as ONNX Runtime's CPU keeps side by side, on every machine (8 with AVX2, 16 with
AVX-512); it leaves that layout for any other number."""


class StyleLayers:
    """Writes SFT layers, y = scale * x + shift.

    Args:
        writer: writes the graph.
        config: the network.
        weights: its checkpoint's.
        folded: write each as a polyline of t (`fxsr.export.graph.rewrites.style_curve`).
        blocked: keep ONNX Runtime's CPU in its blocked layout, which it leaves for operands of different sizes: styles
            and constants have the picture's size. Costs other runtimes time.
        baked: one style for good. Its weights are not used here.
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
        self._styles: dict[str, Style] = {}

    def prepare(self, t_map: ir.Value | None, lr: ir.Value) -> None:
        """Write what depends on the style alone; `t_map` is needed unless it is baked in.

        It stands before the trunk: ONNX Runtime walks back from the output and takes the operand that stands last
        first, so this makes it compute each style right where it is used. Otherwise it computes and holds those of all
        layers before it begins (1.4 GB more at 128x128).
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
        """`scale * x + shift` with constants per channel."""
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

    def _folded_style(self, t_map: ir.Value, sft: str) -> Style:
        w = self._writer
        curves = [style_curve(self._weights, branch) for branch in _branches(sft)]
        count = max(len(curve.knots) for curve in curves)
        if self._blocked:
            count += -count % _BLOCK
        hidden, plain = zip(*(_as_layers(curve, count) for curve in curves), strict=True)
        last = _with_one(plain)
        if not self._blocked:
            return self._parted(w.relu(w.conv(t_map, f"{sft}.knots", *_stacked(hidden))), sft, last)
        scale, shift = (
            w.conv(w.relu(w.conv(t_map, f"{branch}.knots", *knots)), f"{branch}.curve", *curve)
            for branch, knots, curve in zip(_branches(sft), hidden, last, strict=True)
        )
        return scale, shift

    def _plain_style(self, cond: ir.Value, sft: str) -> Style:
        w = self._writer
        hidden, last = ([self._layer(f"{branch}_conv{number}") for branch in _branches(sft)] for number in (0, 1))
        x = w.leaky(w.conv(cond, f"{sft}.conv0", *_stacked(hidden)), COND_SLOPE)
        return self._parted(x, sft, _with_one(last))

    def _parted(self, hidden: ir.Value, sft: str, last: Sequence[Layer]) -> Style:
        """Both branches' last convolutions side by side, then parted: one node to stand before the trunk."""
        kernel, bias = _stacked(last)
        x = self._writer.conv(hidden, f"{sft}.conv1", kernel, bias, group=2)
        scale, shift = self._writer.split(x, f"{sft}.style", (len(bias) // 2,) * 2)
        return scale, shift

    def _conv(self, x: ir.Value, name: str) -> ir.Value:
        return self._writer.conv(x, name, *self._layer(name))

    def _layer(self, name: str) -> Layer:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]


def _branches(sft: str) -> tuple[str, str]:
    return f"{sft}.SFT_scale", f"{sft}.SFT_shift"


def _stacked(layers: Sequence[Layer]) -> Layer:
    """One convolution that computes these."""
    kernel, bias = (np.concatenate(parts) for parts in zip(*layers, strict=True))
    return kernel, bias


def _with_one(last: Sequence[Layer]) -> list[Layer]:
    """The last layers of a scale's and a shift's branch, the scale plus 1."""
    (kernel, bias), shift = last
    return [(kernel, bias + 1), shift]


def _as_layers(curve: StyleCurve, count: int) -> tuple[Layer, Layer]:
    """Convolutions with a ReLU between them that compute a polyline, with `count` hidden channels."""
    idle = count - len(curve.knots)
    knots = np.pad(curve.knots, (0, idle), constant_values=1).astype(np.float32)
    slopes = np.pad(curve.slopes, ((0, 0), (0, idle))).astype(np.float32)
    hidden = np.ones((count, 1, 1, 1), np.float32), -knots
    return hidden, (slopes[:, :, None, None], curve.start.astype(np.float32))
