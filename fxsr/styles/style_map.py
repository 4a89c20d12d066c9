"""The style as a value: one t for a whole image, or one per pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fxsr.errors import ImageError, StyleError, TooLargeError, UsageError
from fxsr.images.image import grey_plane, resize_plane, rows_of_plane
from fxsr.images.reading import open_rows
from fxsr.images.rows import Pixels, dtype_peak
from fxsr.styles import maps as tmap

DEFAULT_T = 0.8
"""The authors' choice for perceptual results (paper, table 1)."""


@dataclass(frozen=True)
class StyleMap:
    """Style in 0..1: 0 faithful, 1 perceptual.

    Make one with `uniform`, `from_array` or `read`.
    """

    values: NDArray[np.float32]
    """(1, 1) for one t everywhere, or (H, W)."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.size == 0:
            raise StyleError(f"a style map is an (H, W) array, this one has the shape {self.values.shape}")

    @staticmethod
    def uniform(t: float) -> StyleMap:
        """One t for all pixels.

        Raises:
            StyleError: `t` is not a number in 0..1.
        """
        tmap.check_t(t)
        return StyleMap(np.full((1, 1), t, np.float32))

    @staticmethod
    def from_array(values: ArrayLike) -> StyleMap:
        """A map from an (H, W) array: floats in 0..1, or uint8/uint16 whose full range stands for 0..1.

        Raises:
            StyleError: the shape or type is wrong, the array is empty, or values lie outside 0..1.
        """
        array = np.asarray(values)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim != 2 or array.size == 0:
            raise StyleError(f"a style map is an (H, W) array, this one has the shape {array.shape}")
        if array.dtype in (np.uint8, np.uint16):
            return StyleMap(array.astype(np.float32) / np.float32(dtype_peak(array.dtype)))
        if array.dtype == np.bool_:
            return StyleMap(array.astype(np.float32))
        if array.dtype.kind != "f":
            raise StyleError(f"a style map holds floats in 0..1, uint8 or uint16; this one is {array.dtype}")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise StyleError(f"style values must lie in 0..1; these reach from {low:g} to {high:g}")
        return StyleMap(array.astype(np.float32))

    @staticmethod
    def read(path: Path | str, max_pixels: int | None = None) -> StyleMap:
        """A map from an image file: its grey values or luminance, where black is 0 and white is 1; alpha is ignored.

        Raises:
            TooLargeError: it has more pixels than `max_pixels`.
            StyleError: the file can't be read, or values lie outside 0..1; the message names the file.
        """
        try:
            image = open_rows(path, max_pixels, as_data=True)
            grey = replace(image, channels=1, dtype=np.dtype(np.float32), bands=map(_grey, image.bands))
            return StyleMap.from_array(grey.whole())
        except TooLargeError as error:
            raise TooLargeError(f"style map {error}") from error
        except ImageError as error:
            raise StyleError(f"style map {error}") from error
        except StyleError as error:
            raise StyleError(f"style map {path}: {error}") from error

    @property
    def is_uniform(self) -> bool:
        """Whether all pixels have one t."""
        return self.values.shape == (1, 1)

    def scaled(self, factor: float) -> StyleMap:
        """Every value times `factor` (0..1).

        Raises:
            StyleError: `factor` is not a number in 0..1.
        """
        if math.isclose(factor, 1):
            return self
        return StyleMap(self.values * StyleMap.uniform(factor).values)

    def feathered(self, radius: float) -> StyleMap:
        """The map with soft borders, which reach `radius` map pixels to either side. A uniform map stays uniform.

        Raises:
            StyleError: `radius` is not a finite number of pixels, 0 or more.
        """
        return StyleMap(tmap.feather(self.values, radius))

    def ranged(self, low: float, high: float) -> StyleMap:
        """The map with its values 0..1 mapped linearly to `low`..`high`.

        Raises:
            StyleError: `low` or `high` is not a number in 0..1.
        """
        if (low, high) == (0, 1):
            return self
        return StyleMap(tmap.ramp(self.values, low, high))

    def resized(self, height: int, width: int) -> StyleMap:
        """The map in another size, averaged where it shrinks, bilinear where it grows. A uniform map stays 1x1."""
        return self if self.is_uniform else StyleMap(resize_plane(self.values, height, width))

    def over(self, height: int, width: int, feather: float = 0) -> StyleRows:
        """The map in the size of an image, computed row by row, with borders softened by `feather` image pixels."""
        return StyleRows(self, height, width, feather)

    def window(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The t_map of a tile, (1, 1, h, w); (1, 1, 1, 1) where the style is uniform."""
        values = self.values if self.is_uniform else self.values[rows, columns]
        return values[None, None]


class StyleRows:
    """A style map in the size of an image, whose rows are computed when they are needed."""

    def __init__(self, style: StyleMap, height: int, width: int, feather: float = 0) -> None:
        self._make = None if style.is_uniform else rows_of_plane(style.values, height, width)
        self._uniform = style.values[:1, :1]
        self._height = height
        self._feather = feather

    def rows(self, rows: slice) -> NDArray[np.float32]:
        """(h, W); (1, 1) where the style is uniform."""
        if self._make is None:
            return self._uniform
        reach = math.ceil(self._feather) + 3  # three box blurs, each rounded up
        start = max(0, rows.start - reach)
        plane = tmap.feather(self._make(slice(start, min(self._height, rows.stop + reach))), self._feather)
        return plane[rows.start - start :][: rows.stop - rows.start]


def _grey(pixels: Pixels) -> NDArray[np.float32]:
    """(h, W, C) to (h, W, 1): integers scaled to 0..1, floats unchanged."""
    plane = grey_plane(pixels)[..., None]
    if pixels.dtype.kind == "f":
        return plane
    return (plane / np.float32(dtype_peak(pixels.dtype))).clip(0, 1)  # the weights' sum may be rounded up


def as_style(t: StyleMap | float | ArrayLike) -> StyleMap:
    """A StyleMap from a number, an (H, W) array or a StyleMap."""
    if isinstance(t, StyleMap):
        return t
    if np.ndim(t) == 0:
        return StyleMap.uniform(np.asarray(t).item())
    return StyleMap.from_array(t)


def parse_pair(text: str, name: str) -> tuple[float, float]:
    """Two numbers in 0..1 from text such as `0.2,0.9`; messages call it `name`.

    Raises:
        UsageError: the text is not two numbers in 0..1.
    """
    try:
        first, second = (float(part) for part in text.split(","))
        tmap.check_t(first)
        tmap.check_t(second)
    except (ValueError, StyleError) as error:
        raise UsageError(f"{name} is {text!r}; it must be two numbers in 0..1, such as 0.2,0.9") from error
    return first, second
