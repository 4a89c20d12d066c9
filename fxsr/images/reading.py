"""Reads images from files, from top to bottom. Most formats are decoded while rows are taken; see `open_rows`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxsr.errors import ImageError
from fxsr.images.bmp import open_bmp
from fxsr.images.decoding import open_decoder
from fxsr.images.exr import open_exr
from fxsr.images.kinds import Kind, find_kind
from fxsr.images.rows import Pixels, Rows, band_height, check_pixels
from fxsr.images.tiff_exif import read_exif

if TYPE_CHECKING:
    import pyvips

_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32, "double": np.float32}
_KEPT = ("exif-", "icc-profile-data", "xmp-data", "iptc-data", "photoshop-data", "xres", "yres", "resolution-unit")
_MIRRORED = 2
"""The only orientation besides the normal one that keeps the order of rows."""


def open_rows(path: Path | str, max_pixels: int | None = None, as_data: bool = False) -> Rows:
    """Open an image. Its orientation is applied, and palettes and CMYK become RGB.

    Only a few rows are in memory at a time. Exceptions, loaded whole: EXR files, photos whose EXIF orientation
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
        kind = find_kind(path)
        if kind is Kind.BMP:
            return open_bmp(path, max_pixels)
        if kind is Kind.EXR:
            return open_exr(path, max_pixels, as_data)
        return _open(path, kind, max_pixels)


def _open(path: Path, kind: Kind, max_pixels: int | None) -> Rows:
    import pyvips

    decoder = open_decoder(path, kind, max_pixels)
    image = decoder.image
    check_pixels(path, image.width, image.height, max_pixels)
    notes = list(decoder.notes)
    if image.get_typeof("n-pages") and image.get("n-pages") > 1:
        notes.append(f"has {image.get('n-pages')} pages or frames; only the first is upscaled")
    if image.get_typeof("orientation") and image.get("orientation") > 1:
        # rotating needs more than one pass from top to bottom
        image = (image if image.get("orientation") == _MIRRORED else image.copy_memory()).autorot()
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
    kept: dict[str, tuple[int, Any]] = {
        name: (image.get_typeof(name), image.get(name)) for name in image.get_fields() if _is_kept(name)
    }
    if "exif-data" not in kept and (exif := read_exif(path)):
        kept["exif-data"] = pyvips.GValue.blob_type, exif
    dtype = np.dtype(_DTYPES[image.format])
    bands = _bands(image, dtype, path, decoder.check)
    return Rows(image.height, image.width, image.bands, dtype, bands, kept, tuple(notes), decoder.lossless)


def _bands(image: pyvips.Image, dtype: np.dtype[Any], path: Path, check: Callable[[], None]) -> Iterator[Pixels]:
    with _errors(path):
        for pixels in vips_bands(image):
            if dtype.kind == "f" and not np.isfinite(pixels).all():
                raise ImageError(f"{path}: holds NaN or infinity")
            yield pixels.astype(dtype, copy=False)
        check()


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


def _is_kept(name: str) -> bool:
    return name.startswith(_KEPT) and name != "exif-ifd0-Orientation" and not name.startswith("exif-ifd1")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Errors that libraries raise in the block become an ImageError that names the file."""
    import pyvips

    try:
        yield
    except pyvips.Error as error:
        why = reason(error).replace(f'"{path}" ', "")
        raise ImageError(f"{path}: not an image that can be read, or a damaged one ({why})") from error
    except (OSError, MemoryError) as error:
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def reason(error: Exception) -> str:
    """The system's error in a message of libvips, or else the last line of the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    system = [line.partition("system error: ")[2] for line in lines if "system error: " in line]
    return [type(error).__name__, *lines, *system][-1]
