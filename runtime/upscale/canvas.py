"""Blends upscaled tiles, in a buffer for the part of the upscaled image that one row of tiles covers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.runtime.upscale.tiles import AxisPlan

_STRIP_PIXELS = 1 << 20


class Canvas:
    """A float32 band as high as an upscaled tile, which moves down the image as rows of tiles are finished."""

    def __init__(self, rows: AxisPlan, columns: AxisPlan, scale: int, planes: int) -> None:
        self._rows = rows
        self._columns = columns
        self._scale = scale
        self._across = columns.weights(scale)
        self._down = 0, rows.weight(0, scale)
        self._band = np.zeros((planes, rows.size * scale, columns.length * scale), np.float32)

    def add(self, row: int, column: int, sr: NDArray[Any] | float) -> None:
        """Add a tile: (planes, scale*size, scale*size), which is overwritten, or one value for all its pixels."""
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
        """The part that no later row of tiles changes: strips of whole LR rows, (planes, h, scale*W), from the top.

        Afterwards the band moves down, so all strips must be taken, and none may be kept.
        """
        band = self._band
        ready = (self._rows.final_until(row) - self._rows.starts[row]) * self._scale
        step = max(1, _STRIP_PIXELS // (band.shape[2] * self._scale)) * self._scale
        for top in range(0, ready, step):
            yield band[:, top : min(top + step, ready)]
        for top in range(0, band.shape[1], ready):  # in parts that do not overlap
            part = band[:, top + ready : top + 2 * ready]
            band[:, top : top + part.shape[1]] = part
            band[:, top + part.shape[1] : top + ready] = 0
