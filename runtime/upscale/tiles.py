"""Cuts an axis into overlapping tiles, and computes the weights that blend them without a seam.

Everything is separable: rows and columns are planned independently, and a tile's blending weight at a pixel is the
product of its two axis weights. This module knows nothing about images or models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import UsageError

DEFAULT_TILE = 256
"""Side of a tile in LR pixels, overlap included."""
DEFAULT_OVERLAP = 32
"""LR pixels that neighbouring tiles share: the smallest overlap with which no pixel differs by half an 8-bit level from
the image upscaled whole (`python -m fxsr.benchmarks seams` prints the table)."""


@dataclass(frozen=True)
class AxisPlan:
    """One axis, cut into tiles of one size. All values are LR pixels."""

    length: int
    """Length of the axis."""
    size: int
    """Length of every tile."""
    starts: tuple[int, ...]
    """Where each tile begins, ascending from 0; the last ends at `length`."""

    def window(self, index: int) -> slice:
        """The pixels of tile `index`."""
        return slice(self.starts[index], self.starts[index] + self.size)

    def final_until(self, index: int) -> int:
        """Where the part that no tile after `index` touches ends."""
        return self.starts[index + 1] if index + 1 < len(self.starts) else self.length

    def weights(self, scale: int) -> list[NDArray[np.float32]]:
        """Blending weights of each tile, (size * scale,). Over all tiles they add up to 1 at every pixel."""
        return [self.weight(index, scale) for index in range(len(self.starts))]

    def weight(self, index: int, scale: int) -> NDArray[np.float32]:
        """Blending weights of one tile."""
        own = self._ramp(index, scale)
        total = own.copy()
        for other in range(
            max(0, index - 3), min(len(self.starts), index + 4)
        ):  # tiles share at most half of their pixels
            shift = (self.starts[other] - self.starts[index]) * scale
            if other != index and abs(shift) < len(own):
                ramp = self._ramp(other, scale)
                if shift > 0:
                    total[shift:] += ramp[:-shift]
                else:
                    total[:shift] += ramp[-shift:]
        return (own / total).astype(np.float32)

    def _ramp(self, index: int, scale: int) -> NDArray[np.float64]:
        """1 inside, falling smoothly towards 0 over the pixels that are shared with each neighbour."""
        window = np.ones(self.size * scale)
        start = self.starts[index]
        if index > 0:
            shared = (self.starts[index - 1] + self.size - start) * scale
            window[:shared] *= _smoothstep(shared)
        if index + 1 < len(self.starts):
            shared = (start + self.size - self.starts[index + 1]) * scale
            if shared:
                window[-shared:] *= _smoothstep(shared)[::-1]
        return window


def plan_axis(length: int, tile: int, overlap: int) -> AxisPlan:
    """Cut an axis into as few tiles as possible, all of one size and evenly spread.

    Args:
        length: length of the axis, LR pixels.
        tile: largest size of a tile, LR pixels; 0 means one tile of any length.
        overlap: LR pixels that neighbours share at least.

    Raises:
        UsageError: the overlap leaves no room in the tile.
    """
    check_tiling(tile, overlap)
    if tile == 0 or length <= tile:
        return AxisPlan(length, length, (0,))
    count = math.ceil((length - overlap) / (tile - overlap))
    size = math.ceil((length + (count - 1) * overlap) / count)  # no larger than needed
    return AxisPlan(length, size, tuple(round(i * (length - size) / (count - 1)) for i in range(count)))


def default_overlap(tile: int) -> int:
    """The overlap for tiles of this size if the user gives none: the default, or less for small tiles."""
    return min(DEFAULT_OVERLAP, tile // 2) if tile else DEFAULT_OVERLAP


def check_tiling(tile: int, overlap: int) -> None:
    """Refuse a tile and an overlap that can't work together.

    Raises:
        UsageError: one is negative, or the overlap is more than half of the tile.
    """
    if tile < 0 or overlap < 0:
        raise UsageError(f"tile {tile} and overlap {overlap} must not be negative")
    if tile and overlap > tile // 2:
        raise UsageError(f"overlap {overlap} is more than half of tile {tile}; use --overlap {tile // 2} or less")


def _smoothstep(length: int) -> NDArray[np.float64]:
    x = (np.arange(length) + 0.5) / length
    return x * x * (3 - 2 * x)
