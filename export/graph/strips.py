"""The end of the network in strips: what lies between its layers is never held for the whole picture at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from fxsr.export.graph.writer import GraphWriter

if TYPE_CHECKING:
    import onnx_ir as ir

STRIPS = 4
"""More would help little: by then the layers before need as much."""
HALO = 2
"""Rows that a strip is given beyond those it is wanted for, for a doubling and two 3x3 convolutions. At a strip's end
each layer sees padding in place of its neighbour, which spoils one row of the doubled picture in the first convolution
and one more in each of the others: three, of four that are dropped."""


def in_strips(w: GraphWriter, x: ir.Value, layers: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """`layers(x)`, strip by strip from top to bottom; exact, whatever the height.

    Args:
        w: writes the graph.
        x: (n, c, h, w).
        layers: makes two rows of each row, and sees no more than `HALO` rows around it.
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
