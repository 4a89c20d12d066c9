"""Where tiles are blended: as much of the enlarged image as one row of tiles covers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.runtime.upscale.tiles import AxisPlan

_STRIP_PIXELS = 1 << 20


class Canvas:
    """A band of planes in float32, as high as a tile, that moves down the image as rows of tiles are finished."""

    def __init__(self, rows: AxisPlan, columns: AxisPlan, scale: int, planes: int) -> None:
        self._rows = rows
        self._columns = columns
        self._scale = scale
        self._across = columns.weights(scale)
        self._down = 0, rows.weight(0, scale)
        self._band = np.zeros((planes, rows.size * scale, columns.length * scale), np.float32)

    def add(self, row: int, column: int, sr: NDArray[Any] | float) -> None:
        """Lay a tile on, (planes, scale*size, scale*size) or one value all over; an array is used up."""
        if self._down[0] != row:
            self._down = row, self._rows.weight(row, self._scale)
        weights = self._down[1][:, None], self._across[column]
        if isinstance(sr, np.ndarray):
            sr *= weights[0]
            sr *= weights[1]
        else:
            sr = np.float32(sr) * weights[0] * weights[1]
        left = self._columns.starts[column] * self._scale
        self._band[:, :, left : left + len(weights[1])] += sr

    def finish(self, row: int) -> Iterator[NDArray[np.float32]]:
        """What no later row of tiles touches any more, (planes, h, scale*W): strips of whole LR rows, from the top.

        Then the band moves down, so all of them must be taken, and none of them be kept.
        """
        band = self._band
        ready = (self._rows.final_until(row) - self._rows.starts[row]) * self._scale
        step = max(1, _STRIP_PIXELS // (band.shape[2] * self._scale)) * self._scale
        for top in range(0, ready, step):
            yield band[:, top : min(top + step, ready)]
        for top in range(0, band.shape[1], ready):  # by parts that do not overlap
            part = band[:, top + ready : top + 2 * ready]
            band[:, top : top + part.shape[1]] = part
            band[:, top + part.shape[1] : top + ready] = 0
