"""Reads what an image file says besides its pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fxsr.images.metadata import claims, exif, xmp
from fxsr.images.metadata.found import Found
from fxsr.images.metadata.gif import read_gif
from fxsr.images.metadata.heif import heif_notes
from fxsr.images.metadata.jpeg import read_jpeg
from fxsr.images.metadata.png import read_png
from fxsr.images.metadata.tiff import read_tiff
from fxsr.images.metadata.webp import read_webp
from fxsr.images.png_chunks import SIGNATURE

_READERS = (
    (b"\xff\xd8", read_jpeg),
    (SIGNATURE, read_png),
    (b"II*\0", read_tiff),
    (b"MM\0*", read_tiff),
    (b"II+\0", read_tiff),
    (b"MM\0+", read_tiff),
    (b"GIF8", read_gif),
)


def read_metadata(path: Path) -> Found | None:
    """What a file says besides its pixels; damaged metadata is left out, with a note.

    None: the format is none that this package reads. See `found_blobs`.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WEBP":
            return _read(file, read_webp)
        for magic, read in _READERS:
            if head.startswith(magic):
                return _read(file, read)
    return None


def _read(file: BinaryIO, read: Callable[[BinaryIO], Found]) -> Found:
    found = read(file)
    if read is not read_tiff:
        found.orientation = claims.stated_orientation(found.exif, found.xmp)
    return found


def found_blobs(path: Path, exif_blob: bytes, packet: bytes) -> Found:
    """EXIF and XMP that a decoder took from a HEIC or AVIF file, whose pixels it gives upright.

    Raises:
        OSError: it can't be read.
    """
    found = Found()
    with path.open("rb") as file:
        found.notes += heif_notes(file)
    found.take_exif(exif_blob)
    found.xmp = claims.level_xmp(xmp.normal(packet))
    if found.exif:
        found.exif = exif.level(found.exif)
        found.resolution = exif.exif_resolution(found.exif)
    return found
