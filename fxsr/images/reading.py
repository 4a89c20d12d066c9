"""Reads images from files, from top to bottom. Most formats are decoded while rows are taken; see `open_rows`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxsr.errors import ImageError
from fxsr.images.bmp import open_bmp
from fxsr.images.bmp_colour import bmp_colour
from fxsr.images.channels import check_layout, restore_doubles, settle_channels
from fxsr.images.decoding import open_decoder
from fxsr.images.exr import open_exr
from fxsr.images.icc import PROFILE
from fxsr.images.kinds import Kind, find_kind
from fxsr.images.metadata.claims import of_pixels
from fxsr.images.metadata.reading import found_blobs, read_metadata
from fxsr.images.reach import Reach
from fxsr.images.rows import Pixels, Rows, band_height, check_pixels
from fxsr.images.stated import settle_stated_colours
from fxsr.images.tiff_layout import read_layout

if TYPE_CHECKING:
    import pyvips

_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
_MIRRORED = 2
"""The only orientation besides the normal one that keeps the order of rows."""


def open_rows(path: Path | str, max_pixels: int | None = None, as_data: bool = False, srgb: bool = False) -> Rows:
    """Open an image. Its orientation is applied, and palettes and CMYK become RGB.

    Only a few rows are in memory at a time. Exceptions, loaded whole: EXR files, photos whose EXIF orientation
    must be applied, and formats that can only be decoded whole (interlaced PNG, progressive JPEG, WebP, HEIC, GIF). One
    thread must read all bands.

    Args:
        max_pixels: largest number of pixels. The header decides, so nothing of a larger image is decoded.
        as_data: the image holds numbers, such as styles or depths, not light: what the file says of colours is not
            applied, and floats may have any range; see `fxsr.images.exr.open_exr` too.
        srgb: convert colours to sRGB, instead of keeping an ICC profile.

    Raises:
        TooLargeError: it has more than `max_pixels` pixels.
        ImageError: the file is missing, damaged, not an image, or of a kind that can't be upscaled. Damaged pixels are
            found while bands are read.
    """
    path = Path(path)
    with _errors(path):
        if not path.is_file():
            raise ImageError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
        kind = find_kind(path)
        if kind is Kind.BMP:
            rows = open_bmp(path, max_pixels)
            return rows if as_data else _with_colours(path, rows, srgb)
        if kind is Kind.EXR:
            return open_exr(path, max_pixels, as_data)
        return _open(path, kind, max_pixels, as_data, srgb)


def _open(path: Path, kind: Kind, max_pixels: int | None, as_data: bool, srgb: bool) -> Rows:
    import pyvips

    layout = read_layout(path) if kind is Kind.TIFF else None
    if layout is not None:
        check_layout(path, layout)
    decoder = open_decoder(path, kind, max_pixels, layout.patches if layout else None)
    image = restore_doubles(decoder.image, layout) if layout and layout.halved else decoder.image
    check_pixels(path, image.width, image.height, max_pixels)
    found = read_metadata(path) or found_blobs(path, _blob(image, "exif-data"), _blob(image, "xmp-data"))
    notes = [*decoder.notes, *found.notes]
    if image.get_typeof("n-pages") and image.get("n-pages") > 1:
        notes.append(f"has {image.get('n-pages')} pages or frames; only the first is upscaled")
    if found.orientation > 1:
        # rotating needs more than one pass from top to bottom
        image = (image if found.orientation == _MIRRORED else image.copy_memory()).copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", found.orientation)
        image = image.autorot()
    channels = settle_channels(path, image, layout, as_data)
    notes += channels.notes
    image, finish = channels.image, channels.finish
    if not as_data:
        settled = settle_stated_colours(path, image, layout, srgb)
        notes += settled.notes
        image, finish = settled.image, settled.finish or finish
    metadata, lost = of_pixels(found.metadata(), found.orientation, image.width, image.height)
    notes += lost
    metadata = replace(metadata, icc=_blob(image, PROFILE))
    dtype = np.dtype(_DTYPES[image.format])
    reach = Reach(path, channels.bounded) if dtype.kind == "f" else None
    bands = _bands(image, dtype, path, finish, reach, [] if as_data else notes, decoder.check)
    return Rows(image.height, image.width, image.bands, dtype, bands, metadata, notes, decoder.lossless)


def _blob(image: pyvips.Image, name: str) -> bytes:
    return bytes(image.get(name)) if image.get_typeof(name) else b""


def _bands(
    image: pyvips.Image,
    dtype: np.dtype[Any],
    path: Path,
    finish: Callable[[Pixels], Pixels] | None,
    reach: Reach | None,
    notes: list[str],
    check: Callable[[], None],
) -> Iterator[Pixels]:
    """The rows of an image; notes about their range are added with the last band."""
    left = image.height
    with _errors(path):
        for band in vips_bands(image):
            pixels = finish(band) if finish else band
            left -= len(pixels)
            if reach is not None:
                reach.add(pixels)
                notes.extend(reach.notes() if not left else [])
            yield pixels.astype(dtype, copy=False)
        check()


def vips_bands(image: pyvips.Image) -> Iterator[Pixels]:
    """The rows of a libvips image, a band at a time, (h, W, C)."""
    import pyvips

    stored = np.dtype(_DTYPES[image.format])
    band = band_height(image.width, image.bands, stored)
    region = pyvips.Region.new(image)
    for top in range(0, image.height, band):
        height = min(band, image.height - top)
        pixels = np.frombuffer(region.fetch(0, top, image.width, height), stored)
        yield pixels.reshape(height, image.width, image.bands)


def _with_colours(path: Path, rows: Rows, srgb: bool) -> Rows:
    """The rows of a BMP file, with what it states of its colours applied; loaded whole where these are not sRGB's."""
    import pyvips

    stated = bmp_colour(path)
    if stated is None or (stated.encoding is None and stated.profile is None):
        return rows
    pixels = rows.whole()
    settled = settle_stated_colours(path, pyvips.Image.new_from_array(pixels), None, srgb)
    metadata = replace(rows.metadata, icc=_blob(settled.image, PROFILE))
    converted = Rows.of(settled.image.numpy().reshape(pixels.shape), metadata)
    return replace(converted, notes=(*rows.notes, *settled.notes))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Errors that libraries raise in the block become an ImageError that names the file."""
    import pyvips

    try:
        yield
    except pyvips.Error as error:
        why = reason(error).replace(f'"{path}" ', "")
        raise ImageError(f"{path}: not an image that can be read, or a damaged one ({why})") from error
    except UnicodeDecodeError as error:  # a message of libvips may quote the file
        raise ImageError(f"{path}: not an image that can be read, or a damaged one") from error
    except (OSError, MemoryError) as error:
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def reason(error: Exception) -> str:
    """The system's error in a message of libvips, or else the last line of the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    system = [line.partition("system error: ")[2] for line in lines if "system error: " in line]
    return [type(error).__name__, *lines, *system][-1]
