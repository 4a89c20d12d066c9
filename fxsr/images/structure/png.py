"""The structure of PNG files: PNG specification (third edition), section 5."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fxsr.images.source import Part, Span
from fxsr.images.structure.base import Structure, append_span, damaged, file_size

_READ = 1 << 20
_MEANING = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT")
"""Chunks that say what the pixels mean: damage there makes the pixels unknown."""
_UNCHECKED = (b"IDAT", b"fcTL", b"fdAT")
"""Chunks whose checksum is left to the decoder, and those of later frames."""
_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class _Chunk:
    """A chunk, which may end behind the end of the file."""

    name: bytes
    start: int
    stop: int


def examine_png(path: Path) -> Structure:
    """Walk over a PNG file from chunk to chunk. The decoder checks the pixels' own checksums.

    Raises:
        ImageError: it ends before its pixels do, or a chunk that says what they mean is damaged.
    """
    notes: list[str] = []
    parts: list[Part] = [Span(0, 8)]
    pixels = end = False
    with path.open("rb") as file:
        size = file_size(file)
        for chunk in _chunks(file, size):
            label = chunk.name.decode()
            pixels |= chunk.name == b"IDAT"
            if chunk.stop > size:
                if chunk.name == b"IDAT":
                    parts += _without_checksum(path, file, chunk, size)
                elif chunk.name != b"IEND":
                    notes.append(f"its chunk {label} is cut and left out")
                break
            if chunk.name == b"IEND":
                end = True
                break
            if chunk.name not in _UNCHECKED and _checksum(file, chunk) != _told(file, chunk):
                if chunk.name in _MEANING:
                    raise damaged(path, f"the checksum of its chunk {label} is wrong")
                notes.append(f"the checksum of its chunk {label} is wrong; the chunk is left out")
                continue
            if chunk.name == b"acTL" and (frames := _frames(file, chunk)) > 1:
                notes.append(f"has {frames} pages or frames; only the first is upscaled")
            append_span(parts, chunk.start, chunk.stop)
    if not pixels:
        raise damaged(path, "it ends before its pixels begin")
    if not end:
        notes.append("has no end marker; all its pixels are there")
    return Structure(tuple(notes), (*parts, _END))


def _chunks(file: BinaryIO, size: int) -> Iterator[_Chunk]:
    """The chunks up to the first one that is none."""
    at = 8
    while at + 8 <= size:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if not name.isalpha() or length > 0x7FFFFFFF:
            return
        yield _Chunk(name, at, at + 12 + length)
        at += 12 + length


def _without_checksum(path: Path, file: BinaryIO, chunk: _Chunk, size: int) -> list[Part]:
    """A chunk of pixels at the end of a file of which nothing but the checksum is cut.

    Raises:
        ImageError: more is cut.
    """
    missing = chunk.stop - 4 - size
    if missing > 0:
        raise damaged(path, f"it ends too early: at least {missing} bytes of its pixels are missing")
    return [Span(chunk.start, chunk.stop - 4), struct.pack(">I", _checksum(file, chunk))]


def _checksum(file: BinaryIO, chunk: _Chunk) -> int:
    """The checksum that a chunk should have."""
    file.seek(chunk.start + 4)
    left, check = chunk.stop - chunk.start - 8, 0
    while left > 0 and (data := file.read(min(left, _READ))):
        check = zlib.crc32(data, check)
        left -= len(data)
    return check


def _told(file: BinaryIO, chunk: _Chunk) -> int:
    """The checksum that a chunk has."""
    file.seek(chunk.stop - 4)
    return int.from_bytes(file.read(4), "big")


def _frames(file: BinaryIO, chunk: _Chunk) -> int:
    """The number of frames that the chunk acTL states."""
    file.seek(chunk.start + 8)
    return int.from_bytes(file.read(4), "big")
