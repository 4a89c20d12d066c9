"""Exact rewrites of the network's weights, as plain array arithmetic. `fxsr.export.graph.graph` uses the results.

Sums and products are computed in float64, so that the rewritten float32 weights are as accurate as the originals.
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
"""Which rows of a 3x3 kernel read the same small-grid pixel, for even and odd rows of the upsampled grid."""


@dataclass(frozen=True)
class StyleCurve:
    """A branch of an SFT layer as a piecewise linear function of t: `start + slopes @ max(t - knots, 0)` per channel.

    It is exact for t in 0..1.
    """

    start: Exact
    """(channels,), the value at t = 0."""
    knots: Exact
    """(k,), the t at which the slope changes: ascending from 0, all below 1."""
    slopes: Exact
    """(channels, k), the change of the slope at each knot."""

    def at(self, t: float) -> Exact:
        """The values at `t`, (channels,)."""
        return self.start + self.slopes @ np.maximum(t - self.knots, 0)


def style_curve(weights: Mapping[str, Array], branch: str) -> StyleCurve:
    """Fold all layers between t and a branch's output, the condition network included, into one piecewise linear
    function.

    These layers are 1x1 convolutions and leaky ReLUs that start from a single number: u = leaky(a t + b), then hidden
    channels leaky(c u + d), since nothing nonlinear lies between the condition network's last convolution and the
    branch's first, and finally a weighted sum. The slope changes only where a hidden channel changes sign.

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
    with np.errstate(divide="ignore", invalid="ignore"):  # constant channels have no knots
        zeros = np.append(-d / c, 0)  # the u at which channels change sign
        bends = (zeros / _leaky_slope(zeros) - b) / a
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
    """Kernels of four 2x2 convolutions on the small grid that replace nearest 2x upsampling and a 3x3 convolution.

    Output pixel (2y + py, 2x + px) depends on 2x2 small-grid pixels only, starting at (y - 1 + py, x - 1 + px); kernel
    elements that read the same pixel add up. Zero padding is preserved, since an upsampled pixel is outside exactly if
    its small-grid pixel is.

    Args:
        kernel: (out, in, 3, 3).

    Returns:
        A kernel (out, in, 2, 2) for each phase (py, px).
    """
    exact = kernel.astype(np.float64)
    return {
        (py, px): np.einsum("ak,oikl,bl->oiab", _ROWS[py], exact, _ROWS[px]).astype(np.float32)
        for py in (0, 1)
        for px in (0, 1)
    }
