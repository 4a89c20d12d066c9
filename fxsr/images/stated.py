"""What a file of any format states of its colours besides an ICC profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import ImageError
from fxsr.images.bmp_colour import bmp_colour
from fxsr.images.channels import unpremultiply
from fxsr.images.colour import Encoding, SettledColours, settle_colours
from fxsr.images.curves import CurveKind
from fxsr.images.heif_colour import heif_colour
from fxsr.images.icc import PROFILE, Primaries
from fxsr.images.png_colour import png_colour
from fxsr.images.tiff_layout import Photometric, TiffLayout

if TYPE_CHECKING:
    import pyvips

_ADOBE_RGB = Encoding("EXIF", Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), CurveKind.GAMMA, 563 / 256)
"""Adobe RGB (1998): cameras that write it without a profile say so by an interoperability index (DCF 2.0)."""
_INTEROPERABILITY, _ADOBE_INDEX = "exif-ifd4-InteroperabilityIndex", "R03"
_RGB_KINDS = (Photometric.RGB, Photometric.PALETTE, Photometric.YCBCR)


def settle_stated_colours(path: Path, image: pyvips.Image, layout: TiffLayout | None, srgb: bool) -> SettledColours:
    """Apply to an image what its file states of its colours; see `fxsr.images.colour`.

    Args:
        image: grey or RGB, with or without alpha.
        layout: what a TIFF file says of its samples.
        srgb: convert to sRGB, instead of leaving a profile.

    Raises:
        ImageError: the colours can't be converted.
    """
    try:
        return settle_colours(*_stated(path, image, layout), srgb)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _stated(path: Path, image: pyvips.Image, layout: TiffLayout | None) -> tuple[pyvips.Image, Encoding | None]:
    """The image with the profile that counts, and what else is stated."""
    if layout is not None:
        return image, _tiff_encoding(image, layout)
    if heif := heif_colour(path):
        if heif.premultiplied and image.bands in (2, 4):
            image = unpremultiply(image)
        return image, heif.encoding
    if bmp := bmp_colour(path):
        return _with_profile(image, bmp.profile), bmp.encoding
    if png := png_colour(path):
        return _with_profile(image, png.profile), png.encoding
    return image, _camera_encoding(image)


def _tiff_encoding(image: pyvips.Image, layout: TiffLayout) -> Encoding | None:
    if image.get_typeof(PROFILE) or layout.primaries is None or layout.photometric not in _RGB_KINDS:
        return None
    return Encoding("PrimaryChromaticities", layout.primaries)


def _camera_encoding(image: pyvips.Image) -> Encoding | None:
    if image.get_typeof(PROFILE) or not image.get_typeof(_INTEROPERABILITY):
        return None
    return _ADOBE_RGB if str(image.get(_INTEROPERABILITY)).startswith(_ADOBE_INDEX) else None


def _with_profile(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    import pyvips

    image = image.copy()
    image.remove(PROFILE)
    if profile is not None:
        image.set_type(pyvips.GValue.blob_type, PROFILE, profile)
    return image
