"""LR-PSNR while rows stream: how well an upscaled image, reduced again, agrees with its input.

It is a necessary condition for a faithful result: everything that the input shows must still be there. What the network
adds beyond the input's resolution can't be measured this way. The measure is that of `fxsr eval`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.images.bicubic import reducing_kernel
from fxsr.images.rows import Pixels, Rows, dtype_peak


class NotFaithfulError(ImageError):
    """An upscaled image differs too much from its input."""


@dataclass
class _Side:
    """Rows that wait for those of the other image."""

    rows: NDArray[np.float32]
    top: int = 0


class LrPsnr:
    """Measures the LR-PSNR of one image while its rows pass. Both sides must be watched in the same thread.

    Colours count as much as their pixel is opaque. Only a few rows are held.

    Args:
        image: the input.
        scale: factor of the upscaler; even.
        bound: smallest LR-PSNR in dB.
    """

    def __init__(self, image: Rows, scale: int, bound: float) -> None:
        self._scale = scale
        self._bound = bound
        self._height, self._width = image.height, image.width
        self._colours = image.channels - (1 - image.channels % 2)
        self._peak = dtype_peak(image.dtype)
        self._round = image.dtype.kind != "f"
        self._kernel = reducing_kernel(scale)
        self._input = _Side(np.empty((0, image.width, image.channels), np.float32))
        self._output = _Side(np.empty((0, image.width, self._colours), np.float32))
        """Rows of the upscaled image, reduced across."""
        self._done = 0
        self._squares = self._weight = 0.0

    def watch_input(self, image: Rows) -> Rows:
        """The input, whose rows are noted while they are taken."""
        return replace(image, bands=self._noted(image.bands))

    def watch_output(self, image: Rows) -> Rows:
        """The upscaled image, whose rows are measured while they are taken.

        When the last row was taken, its bands raise NotFaithfulError if the LR-PSNR is below the bound.
        """
        return replace(image, bands=self._measured(image.bands))

    @property
    def value(self) -> float:
        """The LR-PSNR in dB of the rows so far; infinite if they agree."""
        if self._squares == 0 or self._weight == 0:
            return math.inf
        return 10 * math.log10(self._peak**2 / (self._squares / self._weight))

    def _noted(self, bands: Iterator[Pixels]) -> Iterator[Pixels]:
        for band in bands:
            self._input.rows = np.concatenate([self._input.rows, band.astype(np.float32)])
            yield band

    def _measured(self, bands: Iterator[Pixels]) -> Iterator[Pixels]:
        reach = 3 * self._scale // 2
        for band in bands:
            across = self._reduced(np.pad(band[..., : self._colours], ((0, 0), (reach, reach), (0, 0)), "symmetric"), 1)
            self._output.rows = np.concatenate([self._output.rows, across])
            self._compare()
            yield band
        if self.value < self._bound:
            raise NotFaithfulError(
                f"its LR-PSNR is {self.value:.2f} dB, below the bound of {self._bound:g} dB, so it is not "
                "written; give a smaller --t, or another model"
            )

    def _compare(self) -> None:
        """Compare the rows whose reduction is complete."""
        scale, reach = self._scale, 3 * self._scale // 2
        have = self._output.top + len(self._output.rows)
        last = self._height * scale
        stop = self._height if have == last else max(0, (have - scale - reach) // scale + 1)
        if stop <= self._done:
            return
        begin, end = self._done * scale - reach, stop * scale + reach  # of rows; beyond the image they are mirrored
        rows = np.arange(begin, end)
        rows = np.where(rows < 0, -1 - rows, np.where(rows >= last, 2 * last - 1 - rows, rows)).clip(0, last - 1)
        down = self._reduced(self._output.rows[rows - self._output.top], 0)
        if self._round:
            down = np.floor(down + np.float32(0.5)).clip(0, self._peak)
        source = self._input.rows[self._done - self._input.top :][: stop - self._done]
        weight: Any = 1.0
        if source.shape[2] > self._colours:
            weight = source[..., -1:].astype(np.float64) / self._peak
        error = np.square(down.astype(np.float64) - source[..., : self._colours]) * weight
        self._squares += float(error.sum())
        self._weight += float(np.sum(np.broadcast_to(weight, error.shape)))
        self._drop(self._input, stop)
        self._drop(self._output, max(0, stop * scale - reach))
        self._done = stop

    def _drop(self, side: _Side, top: int) -> None:
        side.rows = side.rows[top - side.top :]
        side.top = top

    def _reduced(self, padded: Pixels, axis: int) -> NDArray[np.float32]:
        """Reduce along an axis that has 1.5 * scale samples more at either end."""
        scale = self._scale
        count = (padded.shape[axis] - 3 * scale) // scale
        total: NDArray[np.float32] | None = None
        for tap, weight in enumerate(self._kernel):
            part = [slice(None)] * 3
            part[axis] = slice(tap, tap + scale * (count - 1) + 1, scale)
            term = padded[tuple(part)].astype(np.float32) * weight
            total = term if total is None else np.add(total, term, out=total)
        assert total is not None
        return total
