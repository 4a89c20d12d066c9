"""Measures of the difference between two images: PSNR and SSIM."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5


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


def ssim(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 1.0) -> float:
    """Structural similarity (Wang et al. 2004): mean over all 11x11 windows, weighted by a Gaussian of 1.5 pixels.

    Returns 1 for equal planes.

    Args:
        a, b: (H, W), both at least 11.
        peak: the largest value a pixel can have.

    Raises:
        ValueError: the planes are smaller than the window, or differ in shape.
    """
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < _SSIM_WINDOW:
        raise ValueError(f"ssim needs two planes of the same shape, at least 11x11; these are {a.shape} and {b.shape}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma in 16..235, (H, W), of an RGB image (H, W, 3), as MATLAB's `rgb2ycbcr` computes it.

    PSNR-Y and SSIM are measured on it throughout the literature.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    result: NDArray[np.float64] = pixels.astype(np.float64) @ weights + 16
    return result


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    place = np.arange(_SSIM_WINDOW) - _SSIM_WINDOW // 2
    kernel = np.exp(-(place**2) / (2 * _SSIM_SIGMA**2))
    kernel /= kernel.sum()
    rows = sliding_window_view(plane, _SSIM_WINDOW, 0) @ kernel
    result: NDArray[np.float64] = sliding_window_view(rows, _SSIM_WINDOW, 1) @ kernel
    return result
