"""Exact rewrites of the network's weights, as plain array arithmetic. `fxsr.export.graph.graph` uses the results.

Sums and products are taken in float64, so that the rewritten weights are as good as the originals in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxsr.models.config import COND_SLOPE

Array = NDArray[np.float32]
Exact = NDArray[np.float64]

_ROWS = (
    np.array([[1, 0, 0], [0, 1, 1]], np.float64),
    np.array([[1, 1, 0], [0, 0, 1]], np.float64),
)
"""Which rows of a 3x3 kernel fall on the same small-grid pixel, for an even and an odd row of the doubled grid."""


@dataclass(frozen=True)
class StyleCurve:
    """A branch of an SFT layer as what it is, a polyline in t per channel: `start + slopes @ max(t - knots, 0)`.

    Exact for t of 0 to 1.
    """

    start: Exact
    """(channels,), at t = 0."""
    knots: Exact
    """(k,), where the line bends: ascending from 0, all below 1."""
    slopes: Exact
    """(channels, k), by how much it gets steeper there."""

    def at(self, t: float) -> Exact:
        """(channels,)."""
        return self.start + self.slopes @ np.maximum(t - self.knots, 0)


def style_curve(weights: Mapping[str, Array], branch: str) -> StyleCurve:
    """All that lies between t and a branch's result, the condition network included, folded into one polyline.

    These layers are 1x1 convolutions and leaky ReLUs that start from a single number: u = leaky(a t + b), hidden
    channels leaky(c u + d) since nothing nonlinear lies between the condition network's last convolution and the
    branch's first, and a weighted sum of these. Hidden channels bend the line only where they change sign.

    Args:
        weights: the checkpoint's weights.
        branch: such as "RRDB_trunk.0.RDB1.sft0.SFT_scale".
    """

    def conv(name: str) -> tuple[Exact, Exact]:
        return weights[f"{name}.weight"][:, :, 0, 0].astype(np.float64), weights[f"{name}.bias"].astype(np.float64)

    ((a,),), (b,) = conv("CondNet.0")
    (inner, inner_bias), (outer, outer_bias), (last, last_bias) = map(
        conv, ("CondNet.2", f"{branch}_conv0", f"{branch}_conv1")
    )
    c, d = outer @ inner, (outer @ inner_bias + outer_bias)[:, None]  # (hidden, 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # constant channels bend nowhere
        signs_change = np.append(-d / c, 0)  # at these u
        bends = (signs_change / _leaky_slope(signs_change) - b) / a
    knots = np.unique([0, *bends[(bends > 0) & (bends < 1)]])
    middles = (knots + np.append(knots[1:], 1)) / 2
    before, start = a * middles + b, _leaky(b)
    steepness = last @ (_leaky_slope(c * _leaky(before) + d) * c * _leaky_slope(before) * a)
    slopes = np.diff(steepness, axis=1, prepend=0)
    return StyleCurve((last @ _leaky(c * start + d))[:, 0] + last_bias, knots, slopes)


def _leaky_slope(x: Exact) -> Exact:
    return np.where(x < 0, COND_SLOPE, 1.0)


def _leaky(x: Exact) -> Exact:
    return _leaky_slope(x) * x


def phase_kernels(kernel: Array) -> dict[tuple[int, int], Array]:
    """A 3x3 convolution on a nearest-doubled grid, as four 2x2 convolutions on the small one.

    Output pixel (2y + py, 2x + px) sees only 2x2 different small-grid pixels, from (y - 1 + py, x - 1 + px) on;
    taps that fall on the same pixel add up. Zero padding carries over: a doubled border pixel is outside exactly
    when its small-grid pixel is.

    Args:
        kernel: (out, in, 3, 3).

    Returns:
        For each phase (py, px) a kernel (out, in, 2, 2).
    """
    exact = kernel.astype(np.float64)
    return {
        (py, px): np.einsum("ak,oikl,bl->oiab", _ROWS[py], exact, _ROWS[px]).astype(np.float32)
        for py in (0, 1)
        for px in (0, 1)
    }
