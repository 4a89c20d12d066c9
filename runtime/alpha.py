"""Transparency: what stands under it must not show, and its own enlargement must stay as clean as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIP = 64


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


def limit_to_neighbours(large: NDArray[Any], small: NDArray[Any], scale: int) -> None:
    """Clip an enlarged plane, in place, to the range that each small pixel's 3x3 surroundings span.

    What was flat stays exactly flat (fully transparent, fully opaque), and edges can't overshoot.

    Args:
        large: (scale*H, scale*W).
        small: (H, W).
    """
    height, width = small.shape
    padded = np.pad(small, 1, mode="edge")
    around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    low, high = np.minimum.reduce(around), np.maximum.reduce(around)
    for top in range(0, height, _STRIP):  # in strips, to need little memory
        rows = slice(top, top + _STRIP)
        part = large[top * scale : (top + _STRIP) * scale]
        np.clip(part, _repeat(low[rows], scale), _repeat(high[rows], scale), out=part)


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
