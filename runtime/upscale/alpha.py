"""Transparency: hidden colours must not bleed into visible ones, and a clean alpha channel must stay clean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.images.image import repeat_pixels


def fill_transparent(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Replace colours under alpha 0 by those of the nearest visible surroundings.

    Such colours are arbitrary (black, mostly) and would bleed over the edge when the image is upscaled. The visible
    pixels are averaged over squares of 2, 4, 8, ... pixels; each hidden pixel gets the mean of the smallest square
    around it that contains a visible one.

    Args:
        rgb: (H, W, C).
        alpha: (H, W); 0 is fully transparent.

    Returns:
        (H, W, C) of the same type; visible pixels are unchanged.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    filled = _pull(rgb.astype(np.float32), (~hidden).astype(np.float32))
    if rgb.dtype.kind != "f":
        filled += 0.5
    return np.where(hidden[..., None], filled.astype(rgb.dtype), rgb)


def neighbour_range(alpha: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The smallest and the largest value in each pixel's 3x3 neighbourhood, (H, W) each; borders are replicated."""
    low, high = alpha, alpha
    for axis in (0, 1):
        ends = [(1, 1) if axis == along else (0, 0) for along in (0, 1)]
        low, high = (
            which.reduce(np.lib.stride_tricks.sliding_window_view(np.pad(plane, ends, "edge"), 3, axis), -1)
            for which, plane in ((np.minimum, low), (np.maximum, high))
        )
    return low, high


def _pull(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """`values` where `weight` is 1; elsewhere the average from the next coarser level that has any weight."""
    if weight.all() or weight.shape == (1, 1):
        return values
    height, width = weight.shape
    odd = ((0, height % 2), (0, width % 2))
    total = _halve(np.pad(weight, odd))
    sums = _halve(np.pad(values * weight[..., None], (*odd, (0, 0))))
    coarse = _pull(sums / total.clip(1, None)[..., None], total.clip(None, 1))
    return np.where(weight[..., None] > 0, values, repeat_pixels(coarse, 2)[:height, :width])


def _halve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums over 2x2 squares."""
    height, width = values.shape[:2]
    sums: NDArray[np.float32] = values.reshape(height // 2, 2, width // 2, 2, *values.shape[2:]).sum((1, 3))
    return sums
