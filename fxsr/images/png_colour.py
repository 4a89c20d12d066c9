"""What the chunks of a PNG file say of its colours (PNG specification, third edition, sections 4.3 and 11.3.2)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fxsr.images.cicp import encoding_of_codes
from fxsr.images.colour import Encoding
from fxsr.images.curves import CurveKind
from fxsr.images.icc import SRGB, Primaries
from fxsr.images.png_chunks import SIGNATURE, chunk_data, walk_chunks

_LENGTHS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
"""Chunks of colour, with their lengths. Those of an ICC profile, iCCP, have any."""
_MOST_PROFILE = 1 << 24
"""Largest ICC profile that is unpacked, in bytes."""
_UNIT = 100_000
"""What gAMA and cHRM hold is multiplied by this."""
_SRGB_GAMMA = 45455
"""gAMA of sRGB's curve, roughly; writers of sRGB state it (section 11.3.2.5)."""


@dataclass(frozen=True)
class PngColour:
    """What a file says of its colours. Neither: they are those of sRGB."""

    encoding: Encoding | None = None
    profile: bytes | None = None
    """An ICC profile; empty if it can't be unpacked."""


def png_colour(path: Path) -> PngColour | None:
    """What a PNG file says of its colours; None if it is none.

    Of several statements the first counts: cICP, iCCP, sRGB, gAMA and cHRM. The profile is read here since libvips
    leaves it out where it doesn't fit the picture.

    Raises:
        ImageError: cICP means something that can't be converted; the message has no file name.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            return None
        chunks = _colour_chunks(file)
    if b"cICP" in chunks:
        primaries, transfer, _, full = chunks[b"cICP"]
        if encoding := encoding_of_codes("cICP", primaries, transfer, bool(full)):
            return PngColour(encoding)
    if b"iCCP" in chunks:
        return PngColour(profile=_unpacked(chunks[b"iCCP"]))
    return PngColour(None if b"sRGB" in chunks else _simple_encoding(chunks))


def _simple_encoding(chunks: Mapping[bytes, bytes]) -> Encoding | None:
    """What gAMA and cHRM say; None if it is sRGB, or nothing."""
    if not {b"gAMA", b"cHRM"} & chunks.keys():
        return None
    source = " and ".join(name.decode() for name in (b"gAMA", b"cHRM") if name in chunks)
    colours = _primaries(chunks[b"cHRM"]) if b"cHRM" in chunks else SRGB
    (gamma,) = struct.unpack(">I", chunks.get(b"gAMA", struct.pack(">I", _SRGB_GAMMA)))
    curve = CurveKind.GAMMA
    if colours.near(SRGB) and abs(gamma - _SRGB_GAMMA) < _SRGB_GAMMA / 50:
        return None
    if b"gAMA" not in chunks or not gamma:
        curve = CurveKind.SRGB
    return Encoding(source, colours, curve, _UNIT / gamma if gamma else 1)


def _unpacked(data: bytes) -> bytes:
    """The profile of an iCCP chunk: a name, 0, the method of compression, and the compressed profile."""
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(data.partition(b"\0")[2][1:], _MOST_PROFILE)
    except zlib.error:
        return b""


def _primaries(data: bytes) -> Primaries:
    x_white, y_white, *rest = (number / _UNIT for number in struct.unpack(">8I", data))
    return Primaries((rest[0], rest[1]), (rest[2], rest[3]), (rest[4], rest[5]), (x_white, y_white))


def _colour_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """The chunks of colour before the palette and the pixels; those of wrong lengths are passed over."""
    found: dict[bytes, bytes] = {}
    for chunk in walk_chunks(file):
        if chunk.name in (b"PLTE", b"IDAT", b"IEND"):
            break
        if _LENGTHS.get(chunk.name) == chunk.length or (chunk.name == b"iCCP" and chunk.length < _MOST_PROFILE):
            found.setdefault(chunk.name, chunk_data(file, chunk))
    return found
