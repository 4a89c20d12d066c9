"""Metadata in PNG files: chunks before and after the pixels.

Source: PNG specification, third edition, 11.3; the raw profiles as ImageMagick and ExifTool write them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from fxsr.errors import foreign_name
from fxsr.images.metadata import exif, photoshop, xmp
from fxsr.images.metadata.found import Found
from fxsr.images.metadata.values import METRE, MOST_BYTES, Metadata, Resolution, Text, listed
from fxsr.images.png_chunks import chunk_data, stored_checksum, true_checksum, walk_chunks

_XMP = b"XML:com.adobe.xmp"
_RAW = b"Raw profile type "
_PROFILES = {b"exif", b"APP1", b"xmp", b"iptc", b"8bim"}
"""Those that are understood; others stay texts. That of a colour profile is old: PNG has a chunk for it."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_METADATA = (*_TEXTS, b"eXIf", b"pHYs")
_SILENT = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS",
    b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi",
    b"acTL", b"fcTL", b"fdAT",
    b"sBIT", b"hIST", b"sPLT", b"bKGD", b"tIME", b"iDOT",
}  # fmt: skip
"""Chunks that belong to the pixels, their colours or their frames, or tell how or when they were stored."""
_MOST = 2**31 - 1


def read_png(file: BinaryIO) -> Found:
    """What a PNG file says besides its pixels."""
    found = Found()
    raw: dict[bytes, bytes] = {}
    unknown: list[str] = []
    for kind, data in _chunks(file, found):
        if kind == b"eXIf":
            found.take_exif(data)
        elif kind == b"pHYs" and len(data) == 9:
            across, down, unit = struct.unpack(">IIB", data)
            found.resolution = (Resolution.per_metre if unit == 1 else Resolution.of_shape)(across, down)
        elif kind == b"caBX":
            found.say("the content credentials (C2PA) are left out: they vouch for the input's bytes")
        elif kind in _TEXTS:
            _take_text(Text(kind, data), found, raw)
        else:
            unknown.append(foreign_name(kind.decode("latin-1")))
    if unknown:
        named = list(dict.fromkeys(unknown))
        found.say(f"PNG's chunks of other kinds ({listed(named[:8])}) are left out")
    segment = raw.get(b"APP1", b"")  # of a JPEG file: EXIF, or XMP behind its name
    if not found.exif:
        found.take_exif(raw.get(b"exif", b"") or exif.plain(segment))
    if not exif.plain(segment):
        raw.setdefault(b"xmp", segment.partition(b"\0")[2])
    found.xmp = xmp.normal(raw.get(_XMP, b"") or raw.get(b"xmp", b""))
    found.iptc, found.photoshop = photoshop.split(raw.get(b"8bim", b""))
    if plain := raw.get(b"iptc"):
        iptc, blocks = photoshop.split(plain)  # some write the records, some the blocks around them
        found.iptc, found.photoshop = (iptc, found.photoshop + blocks) if iptc else (plain, found.photoshop)
    found.resolution = found.resolution or exif.exif_resolution(found.exif)
    return found


def _take_text(text: Text, found: Found, raw: dict[bytes, bytes]) -> None:
    """Take a text for what it is. Of each profile only the first is unpacked, since it may become a thousand times as
    long."""
    name = text.keyword.removeprefix(_RAW)
    if text.keyword != _XMP and (name == text.keyword or name not in _PROFILES):
        found.texts.append(text)
    elif name not in raw:
        data = text.text() if name == _XMP else _raw_profile(text)
        raw[name] = data or b""
        if data is None:
            found.say(f"{foreign_name(text.keyword.decode('latin-1'))} is left out: it is damaged or too long")


def _raw_profile(text: Text) -> bytes | None:
    """The bytes that a text holds as hexadecimal digits, after their name and number."""
    lines = (text.text() or b"").strip(b"\n").split(b"\n", 2)
    try:
        return bytes.fromhex(lines[2].decode("ascii")) if len(lines) == 3 else None
    except ValueError:
        return None


def _chunks(file: BinaryIO, found: Found) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of the chunks that are not about pixels; the data only of those that are known."""
    total = 0
    for chunk in walk_chunks(file):
        if chunk.name == b"IEND":
            return
        if chunk.name in _SILENT:
            continue
        if chunk.name not in _METADATA:
            yield chunk.name, b""
        elif total + chunk.length > MOST_BYTES:
            found.say_too_much()
        else:
            total += chunk.length
            # `fxsr.images.structure.png` names damaged ones
            if true_checksum(file, chunk) == stored_checksum(file, chunk):
                yield chunk.name, chunk_data(file, chunk)


def chunks(metadata: Metadata) -> bytes:
    """The chunks that follow a PNG file's header."""
    parts = []
    if metadata.icc:
        parts.append(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(metadata.icc)))
    if metadata.resolution:
        parts.append(_chunk(b"pHYs", _physical(metadata.resolution)))
    if metadata.exif:
        parts.append(_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        parts.append(_chunk(b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    blocks = photoshop.joined(metadata.iptc, metadata.photoshop)
    if blocks:
        name = b"8bim" if metadata.photoshop else b"iptc"
        digits = blocks.hex().encode()
        lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        stored = b"\n%b\n%8d\n%b\n" % (name, len(blocks), lines)
        parts.append(_chunk(b"zTXt", _RAW + name + b"\0\0" + zlib.compress(stored)))
    parts += [_chunk(text.kind, text.data) for text in metadata.texts]
    return b"".join(parts)


def lost(metadata: Metadata) -> list[str]:
    """What PNG can't hold, one line each."""
    return ["PNG can't hold the GeoTIFF position: left out"] if metadata.geo else []


def _physical(resolution: Resolution) -> bytes:
    if resolution.metres is None:
        shape = (resolution.across / resolution.down).limit_denominator(_MOST)
        return struct.pack(">IIB", min(shape.numerator, _MOST), shape.denominator, 0)
    across, down = (min(max(round(side), 1), _MOST) for side in resolution.per(METRE))
    return struct.pack(">IIB", across, down, 1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
