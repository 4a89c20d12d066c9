"""Transparency: what stands under it must not show, and its own enlargement must stay as clean as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def fill_transparent(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Replace colours under alpha 0 by those of the nearest visible surroundings.

    Such colours are arbitrary (black, mostly) and would bleed over the edge when the image is enlarged. Averages of
    the visible pixels are taken over ever larger squares, and each hidden pixel takes the smallest square that has any.

    Args:
        rgb: (H, W, C).
        alpha: (H, W); 0 is fully transparent.

    Returns:
        (H, W, C) of the same type; visible pixels as they were.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    filled = _pull(rgb.astype(np.float32), (~hidden).astype(np.float32))
    if rgb.dtype.kind != "f":
        filled += 0.5
    return np.where(hidden[..., None], filled.astype(rgb.dtype), rgb)


def neighbour_range(alpha: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The smallest and the largest value in each pixel's 3x3 surroundings, (H, W) each; outside there is nothing."""
    low, high = alpha, alpha
    for axis in (0, 1):
        ends = [(1, 1) if axis == along else (0, 0) for along in (0, 1)]
        low, high = (
            which.reduce(np.lib.stride_tricks.sliding_window_view(np.pad(plane, ends, "edge"), 3, axis), -1)
            for which, plane in ((np.minimum, low), (np.maximum, high))
        )
    return low, high


def _pull(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """`values` where `weight` is 1; elsewhere averages from the next coarser level that has any weight."""
    if weight.all() or weight.shape == (1, 1):
        return values
    height, width = weight.shape
    odd = ((0, height % 2), (0, width % 2))
    total = _halve(np.pad(weight, odd))
    sums = _halve(np.pad(values * weight[..., None], (*odd, (0, 0))))
    coarse = _pull(sums / total.clip(1, None)[..., None], total.clip(None, 1))
    return np.where(weight[..., None] > 0, values, _repeat(coarse, 2)[:height, :width])


def _halve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums over 2x2 squares."""
    height, width = values.shape[:2]
    sums: NDArray[np.float32] = values.reshape(height // 2, 2, width // 2, 2, *values.shape[2:]).sum((1, 3))
    return sums


def _repeat(plane: NDArray[Any], times: int) -> NDArray[Any]:
    return plane.repeat(times, 0).repeat(times, 1)
