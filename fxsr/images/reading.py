"""Reads images from files, from top to bottom. Most formats are decoded while rows are taken; see `open_rows`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxsr.errors import ImageError
from fxsr.images.exr import MAGIC, open_exr
from fxsr.images.metadata.bmp import read_bmp
from fxsr.images.metadata.claims import of_pixels
from fxsr.images.metadata.reading import found_blobs, read_metadata
from fxsr.images.rows import Pixels, Rows, band_height, check_pixels
from fxsr.images.source import open_source

if TYPE_CHECKING:
    import pyvips

_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32, "double": np.float32}
_MIRRORED = 2
"""The only orientation besides the normal one that keeps the order of rows."""


def open_rows(path: Path | str, max_pixels: int | None = None, as_data: bool = False) -> Rows:
    """Open an image. Its orientation is applied, and palettes and CMYK become RGB.

    Only a few rows are in memory at a time. Exceptions, loaded whole: BMP and EXR files, photos whose EXIF orientation
    must be applied, and formats that can only be decoded whole (interlaced PNG, progressive JPEG, WebP, HEIC, GIF). One
    thread must read all bands.

    Args:
        max_pixels: largest number of pixels. The header decides, so nothing of a larger image is decoded.
        as_data: the image holds numbers, such as styles or depths, not light; see `fxsr.images.exr.open_exr`.

    Raises:
        TooLargeError: it has more than `max_pixels` pixels.
        ImageError: the file is missing, damaged, not an image, or of a kind that can't be upscaled. Damaged pixels are
            found while bands are read.
    """
    path = Path(path)
    with _errors(path):
        if not path.is_file():
            raise ImageError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise ImageError(f"{path}: empty file")
        if magic[:2] == b"BM":
            return _open_bmp(path, max_pixels)
        if magic == MAGIC:
            return open_exr(path, max_pixels, as_data)
        return _open(path, max_pixels)


def _open(path: Path, max_pixels: int | None) -> Rows:
    import pyvips

    image = _decoder(path)
    check_pixels(path, image.width, image.height, max_pixels)
    found = read_metadata(path) or found_blobs(path, _blob(image, "exif-data"), _blob(image, "xmp-data"))
    notes = [*found.notes]
    if image.get_typeof("n-pages") and image.get("n-pages") > 1:
        notes.append(f"has {image.get('n-pages')} pages or frames; only the first is upscaled")
    if found.orientation > 1:
        # rotating needs more than one pass from top to bottom
        image = (image if found.orientation == _MIRRORED else image.copy_memory()).copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", found.orientation)
        image = image.autorot()
    if image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", intent="relative", depth=depth)
        image.remove("icc-profile-data")
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy", "hsv", "cmc"):
        fine = image.format != "uchar" and image.interpretation != "labq"
        image = image.colourspace("rgb16" if fine else "srgb")
    if image.format not in _DTYPES:
        raise ImageError(f"{path}: pixels of type {image.format} can't be upscaled; convert it to 8 or 16 bit first")
    if image.bands > 4:
        raise ImageError(f"{path}: has {image.bands} channels; grey, RGB and either with alpha can be upscaled")
    metadata, lost = of_pixels(found.metadata(), found.orientation, image.width, image.height)
    metadata = replace(metadata, icc=_blob(image, "icc-profile-data"))
    dtype = np.dtype(_DTYPES[image.format])
    bands = _bands(image, dtype, path)
    return Rows(image.height, image.width, image.bands, dtype, bands, metadata, (*notes, *lost))


def _blob(image: pyvips.Image, name: str) -> bytes:
    return bytes(image.get(name)) if image.get_typeof(name) else b""


def _decoder(path: Path) -> pyvips.Image:
    import pyvips

    return pyvips.Image.new_from_source(open_source(path), "", access="sequential", fail_on="error")


def _bands(image: pyvips.Image, dtype: np.dtype[Any], path: Path) -> Iterator[Pixels]:
    with _errors(path):
        for pixels in vips_bands(image):
            if dtype.kind == "f" and not np.isfinite(pixels).all():
                raise ImageError(f"{path}: holds NaN or infinity")
            yield pixels.astype(dtype, copy=False)


def vips_bands(image: pyvips.Image) -> Iterator[Pixels]:
    """The rows of a libvips image, a band at a time, (h, W, C)."""
    import pyvips

    stored = np.dtype(np.float64 if image.format == "double" else _DTYPES[image.format])
    band = band_height(image.width, image.bands, stored)
    region = pyvips.Region.new(image)
    for top in range(0, image.height, band):
        height = min(band, image.height - top)
        pixels = np.frombuffer(region.fetch(0, top, image.width, height), stored)
        yield pixels.reshape(height, image.width, image.bands)


def _open_bmp(path: Path, max_pixels: int | None) -> Rows:
    from PIL import Image, UnidentifiedImageError

    try:
        with path.open("rb") as file, Image.open(file) as image:  # given a name, Pillow would map the file
            check_pixels(path, *image.size, max_pixels)
            mode = "L" if image.mode in ("1", "L") else "RGBA" if image.mode == "RGBA" else "RGB"
            pixels = np.asarray(image.convert(mode))
            metadata = read_bmp(file).metadata()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: not an image that can be read, or a damaged one ({error})") from error
    return Rows.of(pixels.reshape(*pixels.shape[:2], -1), metadata)


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
