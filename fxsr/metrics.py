"""How far one image is from another."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over all elements; infinite for equal arrays, NaN if any value is not finite.

    Args:
        a, b: arrays of one shape.
        peak: the largest value a pixel can have (1.0, 255, ...).
    """
    error = np.subtract(a, b, dtype=np.float64)
    mse = float(np.mean(np.square(error)))
    if mse == 0 or not math.isfinite(mse):
        return math.inf if mse == 0 else math.nan
    return 10 * math.log10(peak**2 / mse)
