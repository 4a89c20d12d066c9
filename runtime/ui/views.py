"""What browsers see of photos and results: parts of them as 8-bit PNG files, and small pictures of the whole.

Coordinates are those of the photo. A part of a result is asked for by the part of the photo that it was made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from fxsr.errors import UsageError
from fxsr.images.reading import open_rows
from fxsr.images.resample import resampled
from fxsr.images.rows import Pixels, Rows, dtype_peak
from fxsr.images.vips_pipe import through_vips

OVERVIEW = 1600
"""Longer side in pixels of the picture of a whole photo: large photos would fill a browser's memory."""
MOST_SHOWN = 16_000_000
"""Largest number of pixels of a part."""
_MARGIN = 4
"""Pixels of the photo around a part that interpolation looks at."""
_EXACT = 64_000_000
"""Results up to this number of pixels are shown as they are; larger ones with JPEG's small losses."""
_TILE = 512


@dataclass(frozen=True)
class Part:
    """A rectangle of a photo, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def within(self, size: tuple[int, int]) -> Part:
        """The same rectangle, if it lies inside a photo.

        Args:
            size: width and height of the photo.

        Raises:
            UsageError: it does not, or is empty.
        """
        right, bottom = self.left + self.width, self.top + self.height
        if self.left < 0 or self.top < 0 or self.width < 1 or self.height < 1 or right > size[0] or bottom > size[1]:
            raise UsageError(
                f"{self.width}x{self.height} pixels at {self.left},{self.top} are no part of {size[0]}x{size[1]}"
            )
        return self

    def grown(self, margin: int, size: tuple[int, int]) -> Part:
        """The rectangle with `margin` pixels more on each side, as far as the photo reaches."""
        left, top = max(0, self.left - margin), max(0, self.top - margin)
        right, bottom = (
            min(side, end + margin)
            for side, end in zip(size, (self.left + self.width, self.top + self.height), strict=True)
        )
        return Part(left, top, right - left, bottom - top)

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)


def as_bytes(pixels: Pixels) -> NDArray[np.uint8]:
    """(H, W, C) of any type to (H, W, 3 or 4) uint8; grey becomes RGB."""
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.astype(np.float32) / dtype_peak(pixels.dtype) * 255).clip(0, 255).astype(np.uint8)
    if pixels.shape[2] < 3:
        pixels = np.concatenate([pixels[..., :1].repeat(3, 2), pixels[..., 1:]], 2)
    return np.ascontiguousarray(pixels)


def as_png(pixels: Pixels) -> bytes:
    """(H, W, C) of any type as an 8-bit PNG file."""
    return _png(_image(pixels))


def overview(pixels: Pixels) -> bytes:
    """A WebP file of the whole photo, with sides of at most `OVERVIEW` pixels."""
    small = shrunk(pixels, min(1.0, OVERVIEW / max(pixels.shape[:2])))
    return bytes(_image(small).webpsave_buffer(Q=90, effort=2, keep="none"))


def shrunk(pixels: Pixels, factor: float) -> NDArray[np.uint8]:
    """(H, W, C) of any type, made smaller, as (h, w, 3 or 4) uint8. Large photos are not copied on the way.

    Args:
        factor: the answer's sides as a share of the photo's, above 0, at most 1.
    """
    if factor == 1:
        return as_bytes(pixels)
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_array(pixels)
    opaque = dtype_peak(pixels.dtype)
    if channels in (2, 4):
        image = image.premultiply(max_alpha=opaque)
    across, down = max(1, round(width * factor)), max(1, round(height * factor))
    image = image.resize(across / width, vscale=down / height)
    if channels in (2, 4):
        image = image.unpremultiply(max_alpha=opaque)
    small = image.numpy().reshape(image.height, image.width, channels)
    if pixels.dtype.kind != "f":
        small = np.rint(small).clip(0, opaque)
    return as_bytes(small.astype(pixels.dtype))


def enlarged(pixels: Pixels, part: Part, factor: float) -> bytes:
    """A part of a photo by bicubic interpolation, as a PNG file.

    Args:
        pixels: (H, W, C), the whole photo.
        factor: pixels of the answer per pixel of the photo.

    Raises:
        UsageError: the answer would be too large.
    """
    _check_shown(part, factor)
    size = pixels.shape[1], pixels.shape[0]
    outer = part.grown(_MARGIN, size)
    image = _image(pixels[outer.rows, outer.columns])
    image = resampled(image, *(max(1, round(side * factor)) for side in (outer.width, outer.height)))
    left, top = round((part.left - outer.left) * factor), round((part.top - outer.top) * factor)
    width, height = max(1, round(part.width * factor)), max(1, round(part.height * factor))
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    return _png(image.crop(left, top, min(width, image.width - left), min(height, image.height - top)))


@dataclass(frozen=True)
class ResultView:
    """A result in several sizes, of which any part is read quickly."""

    path: Path
    scale: int
    """Pixels of the result per pixel of the photo."""
    levels: int
    """Number of sizes. Each has half the width of the one before; the first is the result's own."""

    @staticmethod
    def of(result: Path, path: Path, scale: int) -> ResultView:
        """Prepare the view of an image file. Its rows are streamed.

        Args:
            path: where the view is written.

        Raises:
            ImageError: the file can't be read; EXR needs the extra `exr`.
        """
        rows = open_rows(result, srgb=True)
        exact = rows.width * rows.height <= _EXACT
        kept = {"compression": "deflate", "predictor": "horizontal"} if exact else {"compression": "jpeg", "Q": 95}

        def save(image: pyvips.Image) -> None:
            image.copy(interpretation="srgb").tiffsave(
                str(path), tile=True, pyramid=True, tile_width=_TILE, tile_height=_TILE, keep="none", **kept
            )

        through_vips(_as_byte_rows(rows), save)
        image = pyvips.Image.new_from_file(str(path))
        return ResultView(path, scale, image.get("n-pages"))

    def part(self, part: Part, level: int) -> bytes:
        """The result of a part of the photo, as a PNG file.

        Raises:
            UsageError: there is no such level, or the answer would be too large.
        """
        if not 0 <= level < self.levels:
            raise UsageError(f"level is {level}; it must be 0 to {self.levels - 1}")
        factor = self.scale / 2**level
        _check_shown(part, factor)
        image = pyvips.Image.new_from_file(str(self.path), page=level)
        left, top = (
            min(round(at * factor), most - 1) for at, most in ((part.left, image.width), (part.top, image.height))
        )
        width, height = max(1, round(part.width * factor)), max(1, round(part.height * factor))
        return _png(image.crop(left, top, min(width, image.width - left), min(height, image.height - top)))


def _as_byte_rows(rows: Rows) -> Rows:
    channels = rows.channels if rows.channels > 2 else rows.channels + 2
    return Rows(rows.height, rows.width, channels, np.dtype(np.uint8), map(as_bytes, rows.bands))


def _check_shown(part: Part, factor: float) -> None:
    if part.width * part.height * factor**2 > MOST_SHOWN:
        raise UsageError(f"a part may have {MOST_SHOWN} pixels; ask for a smaller one")


def _image(pixels: Pixels) -> pyvips.Image:
    return pyvips.Image.new_from_array(as_bytes(pixels)).copy(interpretation="srgb")


def _png(image: pyvips.Image) -> bytes:
    return bytes(image.pngsave_buffer(compression=1, keep="none"))
