"""Gives image files to the decoder of their kind, and to no other one: libvips for most, libheif for HEIC.

libvips would find a loader by itself, among them such that follow links or render drawings of any size. So the loader
is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fxsr.errors import first_line
from fxsr.images.kinds import Kind
from fxsr.images.rows import check_pixels
from fxsr.images.source import FileSource, patched
from fxsr.images.structure import examine
from fxsr.images.structure.base import damaged
from fxsr.images.structure.jpeg_source import JpegSource

if TYPE_CHECKING:
    import pyvips

_LOADERS = {
    Kind.PNG: "pngload_source",
    Kind.WEBP: "webpload_source",
    Kind.TIFF: "tiffload_source",
    Kind.GIF: "gifload_source",
    Kind.AVIF: "heifload_source",
}


@dataclass(frozen=True)
class Decoder:
    """An image that is decoded while its rows are taken."""

    image: pyvips.Image
    notes: tuple[str, ...]
    """What is missing or is not read, one line each."""
    lossless: bool
    """Whether its file holds it exactly, in a format that may also lose."""
    check: Callable[[], None]
    """To be called when all rows are taken. It raises an ImageError if the decoder did not need all pixels."""


def open_decoder(
    path: Path, kind: Kind, max_pixels: int | None = None, patches: Mapping[int, bytes] | None = None
) -> Decoder:
    """Open a file of one of the kinds that libvips or libheif decode. Full intensity is the largest number of the
    pixels' type, also where the file has 10 or 12 bits.

    Args:
        patches: bytes that the decoder reads instead of the file's, by their offset.

    Raises:
        TooLargeError: it has more than `max_pixels` pixels; checked here for what can't be decoded row by row.
        ImageError: it is damaged.
        pyvips.Error: libvips found it damaged.
    """
    structure = examine(path, kind)
    if kind is Kind.HEIC:
        image, notes = _open_heic(path, max_pixels)
        return Decoder(image, (*structure.notes, *notes), False, lambda: None)
    if kind is Kind.JPEG:
        file = JpegSource(path, structure)
        return Decoder(file.image, structure.notes, False, lambda: _refuse(path, file.fault()))
    parts = patched(path.stat().st_size, patches) if patches else structure.parts
    image = FileSource(path, parts).load(_LOADERS[kind], "error")
    if kind is Kind.AVIF:
        image = _full_range(image)
    return Decoder(image, structure.notes, structure.lossless, structure.check)


def _refuse(path: Path, fault: str | None) -> None:
    if fault:
        raise damaged(path, fault)


def _full_range(image: pyvips.Image) -> pyvips.Image:
    """Pixels of 10 or 12 bits, which libvips shifts to 16 bits without filling the lower ones."""
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8
    if image.format != "ushort" or bits >= 16:
        return image
    most = (1 << bits) - 1 << 16 - bits
    return (image * (65535 / most) + 0.5).cast("ushort").copy(interpretation=image.interpretation)


def _open_heic(path: Path, max_pixels: int | None) -> tuple[pyvips.Image, list[str]]:
    """Decode a HEIC file whole. Its own rotation and mirroring are applied, so the orientation of its EXIF is not.

    Raises:
        TooLargeError: it has more than `max_pixels` pixels.
        ImageError: it is damaged.
    """
    import pi_heif
    import pyvips

    try:
        with path.open("rb") as file:
            opened = pi_heif.open_heif(file, convert_hdr_to_8bit=False)
            stated_width, stated_height = opened.size
            check_pixels(path, stated_width, stated_height, max_pixels)
            bits = opened.info.get("bit_depth", 8)
            pixels = np.asarray(opened)
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError, LookupError) as error:
        raise damaged(path, first_line(error)) from error
    if bits > 8:
        pixels = ((pixels >> 16 - bits) * (65535 / ((1 << bits) - 1)) + 0.5).astype(np.uint16)
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels)
    form = "ushort" if bits > 8 else "uchar"
    image = pyvips.Image.new_from_memory(data, width, height, data.size // (width * height), form)
    grey = image.bands < 3
    image = image.copy(interpretation=("grey16" if grey else "rgb16") if bits > 8 else ("b-w" if grey else "srgb"))
    for name, key, prefix in (
        ("icc-profile-data", "icc_profile", b""),
        ("exif-data", "exif", b"Exif\0\0"),
        ("xmp-data", "xmp", b""),
    ):
        if value := opened.info.get(key):
            image.set_type(pyvips.GValue.blob_type, name, prefix + value.removeprefix(prefix))
    notes = []
    if len(opened) > 1:
        notes.append(f"has {len(opened)} images; only the primary one is upscaled")
    return image, notes
