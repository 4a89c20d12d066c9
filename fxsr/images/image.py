"""Images as whole arrays, with the metadata that should be kept.

libvips reads and writes PNG, JPEG, WebP and TIFF, and reads GIF and AVIF; libheif reads HEIC. BMP and EXR have modules
of their own. Pixels are converted only where a format requires it: CMYK and Lab become sRGB on reading; depth or alpha
that the output format can't hold is reduced on writing. `fxsr.images.reading` and `fxsr.images.writing` stream images
instead of holding them whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.images.formats import FORMATS, READABLE, WRITABLE
from fxsr.images.metadata.values import Metadata
from fxsr.images.reading import open_rows
from fxsr.images.resample import resampled
from fxsr.images.rows import Pixels, Rows, as_channels, dtype_peak
from fxsr.images.writing import write_rows

__all__ = [
    "FORMATS",
    "LUMA",
    "READABLE",
    "WRITABLE",
    "Picture",
    "Pixels",
    "brightness",
    "dtype_peak",
    "grey_plane",
    "luminance",
    "read_image",
    "repeat_pixels",
    "resize_plane",
    "rows_of_plane",
    "three_channels",
    "write_image",
]

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luminance (ITU-R BT.601)."""


@dataclass(frozen=True)
class Picture:
    """An image in memory."""

    pixels: Pixels
    """(H, W, C), C 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16, or float32 in 0..1."""
    metadata: Metadata = field(default=Metadata(), repr=False)
    """What the file says besides its pixels. Orientation is applied."""
    notes: tuple[str, ...] = ()
    """What could not be kept on reading, one line each."""


def luminance(rgb: Pixels) -> Pixels:
    """(..., 3) to (...): BT.601 luminance as float32, in the range of `rgb`."""
    plane: Pixels = np.matmul(rgb.astype(np.float32), np.array(LUMA, np.float32))
    return plane


def grey_plane(pixels: Pixels) -> NDArray[np.float32]:
    """(H, W, C) to (H, W): the luminance of colours, grey as it is, alpha left out; in the same range."""
    return luminance(pixels[..., :3]) if pixels.shape[2] >= 3 else pixels[..., 0].astype(np.float32)


def brightness(pixels: Pixels) -> NDArray[np.float32]:
    """(H, W, C) of any type to (H, W): `grey_plane` in 0..1, where 1 is full intensity."""
    plane: NDArray[np.float32] = grey_plane(pixels) / np.float32(dtype_peak(pixels.dtype))
    return plane.clip(0, 1)


def three_channels(pixels: Pixels) -> Pixels:
    """(H, W, C) to (H, W, 3): grey in all three channels, alpha left out."""
    return pixels[..., :1].repeat(3, 2) if pixels.shape[2] < 3 else pixels[..., :3]


def repeat_pixels(plane: Pixels, times: int) -> Pixels:
    """(H, W, ...) to (times*H, times*W, ...): every pixel becomes a square of `times` x `times` equal ones."""
    return plane.repeat(times, 0).repeat(times, 1)


def read_image(path: Path | str, as_data: bool = False, srgb: bool = False) -> Picture:
    """Read an image. Its orientation is applied, and palettes and CMYK become RGB.

    Args:
        as_data: the image holds numbers, not light; see `fxsr.images.reading.open_rows`.
        srgb: convert colours to sRGB, instead of keeping an ICC profile.

    Raises:
        ImageError: the file is missing, damaged, not an image, or of a kind that can't be upscaled.
    """
    rows = open_rows(path, as_data=as_data, srgb=srgb)
    return Picture(rows.whole(), rows.metadata, tuple(rows.notes))


def write_image(path: Path | str, picture: Picture, quality: int | None = None) -> tuple[str, ...]:
    """Write an image, whole or not at all, in the format of its suffix.

    Args:
        quality: quality of JPEG and WebP, 1..100; None: 95.

    Returns:
        What the format could not hold, one line each.

    Raises:
        ImageError: the format is unknown or can't hold this image, or the library failed.
        FxsrError: the file can't be written.
    """
    return write_rows(path, Rows.of(as_channels(picture.pixels), picture.metadata), quality)


def resize_plane(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize an (H, W) array: bilinear where it grows, averaging where it shrinks. Values stay in their range."""
    return rows_of_plane(plane, height, width)(slice(0, height))


def rows_of_plane(plane: NDArray[np.float32], height: int, width: int) -> Callable[[slice], NDArray[np.float32]]:
    """`resize_plane` as a function of a slice of rows, which are computed when it is called."""
    import pyvips

    if plane.shape == (height, width):
        return lambda rows: plane[rows]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(plane))
    exact = resampled(image, width, height, linear=True)
    low, high = plane.min(), plane.max()

    def make(rows: slice) -> NDArray[np.float32]:
        part = exact.crop(0, rows.start, width, rows.stop - rows.start).numpy()
        return np.asarray(part.reshape(-1, width).clip(low, high), np.float32)

    return make
