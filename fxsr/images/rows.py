"""An image that is streamed from top to bottom, a few rows at a time, so that its height needs no memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError, TooLargeError
from fxsr.images.metadata.values import Metadata

Pixels = NDArray[Any]

_BAND_BYTES = 1 << 22
_NARROWEST = 1000
"""No side may exceed the pixel limit divided by this: a row of tiles is in memory, which grows with the width."""


@dataclass(frozen=True)
class Rows:
    """An image as an iterator over bands of rows, which can be used once."""

    height: int
    width: int
    channels: int
    """1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    dtype: np.dtype[Any]
    """uint8, uint16 or float; full intensity is 255, 65535 or 1.0."""
    bands: Iterator[Pixels]
    """(h, width, channels) arrays of `dtype`, from top to bottom; h may differ between bands."""
    metadata: Metadata = field(default=Metadata(), repr=False)
    """What the file says besides its pixels. Orientation is applied."""
    notes: Sequence[str] = ()
    """What could not be kept on reading, one line each. Complete when all bands are taken."""
    lossless: bool = False
    """Whether it was read from a file that holds it exactly, in a format that may also lose, such as WebP."""

    @staticmethod
    def of(pixels: Pixels, metadata: Metadata | None = None) -> Rows:
        """The rows of an (H, W, C) array."""
        height, width, channels = pixels.shape
        band = band_height(width, channels, pixels.dtype)
        bands = (pixels[top : top + band] for top in range(0, height, band))
        return Rows(height, width, channels, pixels.dtype, bands, metadata or Metadata())

    def whole(self) -> Pixels:
        """The whole image as an (H, W, C) array; uses up the bands."""
        pixels = np.empty((self.height, self.width, self.channels), self.dtype)
        top = 0
        for band in self.bands:
            pixels[top : top + len(band)] = band
            top += len(band)
        return pixels


def as_channels(image: Pixels) -> Pixels:
    """An (H, W) or (H, W, C) image as (H, W, C).

    Raises:
        ImageError: wrong shape or type, or empty.
    """
    if type(image).__module__.partition(".")[0] == "torch":
        raise ImageError(
            "an image is a NumPy array (H, W, C), not a tensor of torch; for a tensor x of (C, H, W), give "
            "x.permute(1, 2, 0).cpu().numpy(), or keep it on the GPU with session.run_device"
        )
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise ImageError(f"an image is an (H, W) or (H, W, C) array with 1 to 4 channels; this one is {pixels.shape}")
    if pixels.size == 0:
        raise ImageError(f"the image is empty: {pixels.shape}")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise ImageError(f"an image is of uint8, uint16 or floats in 0..1; this one is of {pixels.dtype}")
    return pixels


def reduced_whole(image: Rows, factor: int) -> Pixels:
    """A whole image reduced by a whole number, as (ceil(H / factor), ceil(W / factor), C); uses up the bands.

    Each pixel is the mean of a square of `factor` x `factor`, or of what there is of it at the right and the bottom.
    """
    if factor <= 1:
        return image.whole()
    height, width = -(-image.height // factor), -(-image.width // factor)
    sums = np.zeros((height, width, image.channels))
    columns = np.arange(0, image.width, factor)
    top = 0
    for band in image.bands:
        across = np.add.reduceat(band, columns, 1, np.float64)
        np.add.at(sums, (top + np.arange(len(band))) // factor, across)
        top += len(band)
    counts = [np.minimum(factor, side - np.arange(0, side, factor)) for side in (image.height, image.width)]
    means = sums / (counts[0][:, None, None] * counts[1][:, None])
    reduced: Pixels = (means if image.dtype.kind == "f" else means + 0.5).astype(image.dtype)
    return reduced


def band_height(width: int, channels: int, dtype: np.dtype[Any]) -> int:
    """Number of rows in a band of about 4 MB."""
    return max(1, _BAND_BYTES // (width * channels * dtype.itemsize))


def dtype_peak(dtype: np.dtype[Any]) -> float:
    """The value that means full intensity: 255, 65535, or 1.0 for floats."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def check_pixels(path: Path, width: int, height: int, limit: int | None) -> None:
    """Refuse an image that is too large.

    Raises:
        TooLargeError: it has more than `limit` pixels, or a side is longer than a thousandth of that.
    """
    if limit is None:
        return
    if width * height > limit:
        raise TooLargeError(f"{path}: {width}x{height} has more than the {limit} pixels that are allowed")
    longest = max(limit // _NARROWEST, _NARROWEST)
    if max(width, height) > longest:
        raise TooLargeError(f"{path}: {width}x{height} has a side of more than the {longest} pixels that are allowed")
