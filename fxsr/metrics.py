"""How far one image is from another."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over all elements; infinite for equal arrays, NaN where one has a NaN.

    Args:
        a, b: arrays of one shape.
        peak: the largest value a pixel can have (1.0, 255, ...).
    """
    error = np.subtract(a, b, dtype=np.float64)
    mse = float(np.mean(np.square(error)))
    return math.inf if mse == 0 else 10 * math.log10(peak**2 / mse)
