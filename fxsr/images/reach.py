"""The range of floating-point pixels, found while they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fxsr.errors import ImageError
from fxsr.images.rows import Pixels

_HIGHEST = 16.0
"""Largest value that is still taken for light where 1 is white: four stops above it."""
_STEP = 1 / 255
"""Values may leave 0..1 by this without a note."""


class Reach:
    """Checks the bands of an image of floats and keeps their smallest and largest value.

    Args:
        bounded: the pixels should be near 0..1, since nothing says what other numbers mean.
    """

    def __init__(self, path: Path, bounded: bool) -> None:
        self._path = path
        self._bounded = bounded
        self._low, self._high = 0.0, 1.0

    def add(self, pixels: Pixels) -> None:
        """Check a band.

        Raises:
            ImageError: it holds NaN or infinity, or numbers whose black and white are not known.
        """
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite([low, high]).all():
            raise ImageError(f"{self._path}: holds NaN or infinity")
        self._low, self._high = min(self._low, low), max(self._high, high)
        if not self._bounded or max(-low, high) <= 1:
            return
        if max(-low, high) > _HIGHEST or (pixels == np.rint(pixels)).all():
            raise ImageError(
                f"{self._path}: its values reach from {self._low:g} to {self._high:g}, and nothing says which are "
                "black and white; scale them to the range 0..1, or state white in the tag SMaxSampleValue"
            )

    def notes(self) -> list[str]:
        """What to say when all bands have been checked."""
        if self._low >= -_STEP and self._high <= 1 + _STEP:
            return []
        return [f"its values reach from {self._low:g} to {self._high:g}; the range 0..1 is black to white"]
