"""Metadata in WebP files: the chunks EXIF, XMP and ICCP.

Source: RFC 9649, 2.7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from fxsr.errors import foreign_name
from fxsr.images.metadata import exif, xmp
from fxsr.images.metadata.found import Found
from fxsr.images.metadata.values import MOST_BYTES, Metadata, listed, text_names

_SILENT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
HEAD_BYTES = 30
"""Bytes of a file that `header` needs."""
_ICC, _ALPHA, _EXIF, _XMP = 0x20, 0x10, 0x08, 0x04


def read_webp(file: BinaryIO) -> Found:
    """What a WebP file says besides its pixels."""
    found = Found()
    unknown = []
    for kind, data in _chunks(file, found):
        if kind == b"EXIF":
            found.take_exif(data)
        elif kind == b"XMP ":
            found.xmp = found.xmp or xmp.normal(data)
        else:
            unknown.append(foreign_name(kind.decode("latin-1")))
    if unknown:
        found.say(f"WebP's chunks of other kinds ({listed(list(dict.fromkeys(unknown))[:8])}) are left out")
    found.resolution = exif.exif_resolution(found.exif)
    return found


def _chunks(file: BinaryIO, found: Found) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of the chunks that are not about pixels."""
    file.seek(4)
    end = int.from_bytes(file.read(4), "little") + 8
    file.seek(12)
    while file.tell() < end and len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[4:], "little"), head[:4]
        if kind in _SILENT:
            file.seek(size + size % 2, 1)
        elif size > MOST_BYTES:
            found.say_too_much()
            file.seek(size + size % 2, 1)
        else:
            data = file.read(size)
            if len(data) < size:
                return
            file.seek(size % 2, 1)
            yield kind, data


def header(head: bytes, metadata: Metadata, width: int, height: int) -> tuple[bytes, bytes]:
    """The beginning of a WebP file with metadata, and its end.

    Args:
        head: the first bytes of the file as an encoder wrote it, without metadata.

    Returns:
        What to write instead of these bytes, and what to append. The file's size is to be set, as `sized` has it.
    """
    flags, rest = 0, head[12:]
    if rest[:4] == b"VP8X":
        flags, rest = rest[8], rest[18:]
    elif rest[:4] == b"VP8L":
        flags = _ALPHA if int.from_bytes(rest[9:13], "little") >> 28 & 1 else 0
    profile = _chunk(b"ICCP", metadata.icc) if metadata.icc else b""
    stated = metadata.exif
    if metadata.resolution:
        stated = exif.with_resolution(stated, metadata.resolution)
    tail = (_chunk(b"EXIF", stated) if stated else b"") + (_chunk(b"XMP ", metadata.xmp) if metadata.xmp else b"")
    if not profile and not tail:
        return head, b""
    flags |= (_ICC if profile else 0) | (_EXIF if stated else 0) | (_XMP if metadata.xmp else 0)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return head[:12] + _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size) + profile + rest, tail


def sized(length: int) -> bytes:
    """The size that a file of this length states of itself, from byte 4."""
    return struct.pack("<I", length - 8)


def lost(metadata: Metadata) -> list[str]:
    """What WebP can't hold, one line each."""
    names = [*text_names(metadata.texts)]
    if metadata.iptc:
        names.append("IPTC")
    if metadata.photoshop:
        names.append("Photoshop resources")
    if metadata.geo:
        names.append("the GeoTIFF position")
    return [f"WebP can't hold {listed(names)}: left out"] if names else []


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
