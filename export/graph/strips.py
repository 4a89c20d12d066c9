"""Computes the end of the network in strips, so that its activations are never held for the whole image at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from fxsr.export.graph.writer import GraphWriter

if TYPE_CHECKING:
    import onnx_ir as ir

STRIPS = 4
"""More strips would save little, since the layers before then need as much memory."""
HALO = 2
"""Extra rows at each end of a strip, for 2x upsampling and two 3x3 convolutions after it. At a strip's end each layer
sees padding instead of the neighbouring strip. This corrupts one row of the upsampled image in the first convolution
and one more in each of the others: three rows, of the four that are dropped."""


def in_strips(w: GraphWriter, x: ir.Value, layers: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """Write `layers(x)` strip by strip, from top to bottom. The result is exact for any height.

    Args:
        w: writes the graph.
        x: (n, c, h, w).
        layers: doubles the number of rows, and depends on no more than `HALO` rows around each.
    """
    height = w.side(x, 2)
    cuts = [w.sizes("Div", w.sizes("Mul", height, index), STRIPS) for index in range(STRIPS + 1)]
    done = []
    for first, last in pairwise(cuts):
        begin = w.sizes("Max", w.sizes("Sub", first, HALO), 0)
        end = w.sizes("Min", w.sizes("Add", last, HALO), height)
        strip = layers(w.cut(x, begin, end, "strip"))
        inner, beyond = (w.sizes("Mul", w.sizes("Sub", row, begin), 2) for row in (first, last))
        done.append(w.cut(strip, inner, beyond, "strip.inner"))
    return w.stack(done, "strips")
