"""Exact rewrites of the network's weights, as plain array arithmetic. `fxsr.export.graph` uses the results.

Sums and products are taken in float64, so that the rewritten weights are as good as the originals in float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_ROWS = (
    np.array([[1, 0, 0], [0, 1, 1]], np.float64),
    np.array([[1, 1, 0], [0, 0, 1]], np.float64),
)
"""Which rows of a 3x3 kernel fall on the same small-grid pixel, for an even and an odd row of the doubled grid."""


def fold_condition(weights: Mapping[str, Array], conv0: str) -> tuple[Array, Array]:
    """The condition branch's last 1x1 convolution folded into an SFT branch's first.

    Nothing nonlinear lies between the two: W0 (W2 u + b2) + b0 = (W0 W2) u + (W0 b2 + b0).

    Args:
        weights: the checkpoint's weights.
        conv0: name of the SFT branch's first convolution, such as "RRDB_trunk.0.RDB1.sft0.SFT_scale_conv0".

    Returns:
        Kernel (nc, 1, 1, 1) and bias (nc,), to be applied to the branch's single channel u.
    """
    outer = weights[f"{conv0}.weight"][:, :, 0, 0].astype(np.float64)
    inner = weights["CondNet.2.weight"][:, :, 0, 0].astype(np.float64)
    kernel = outer @ inner
    bias = outer @ weights["CondNet.2.bias"].astype(np.float64) + weights[f"{conv0}.bias"]
    return kernel[:, :, None, None].astype(np.float32), bias.astype(np.float32)


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
