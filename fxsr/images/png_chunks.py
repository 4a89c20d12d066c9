"""The chunks of PNG files: PNG specification (third edition), section 5."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FRAME = 12
"""Bytes of a chunk around its data: length, name and checksum."""
_MOST = 0x7FFFFFFF
_READ = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """A chunk, which may end behind the end of the file."""

    name: bytes
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Bytes of its data."""
        return self.stop - self.start - _FRAME


def walk_chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a PNG file in their order, up to the first one that is none. The file may be read meanwhile."""
    at = len(SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head)
        if not name.isalpha() or length > _MOST:
            return
        chunk = Chunk(name, at, at + _FRAME + length)
        yield chunk
        at = chunk.stop


def chunk_data(file: BinaryIO, chunk: Chunk, most: int = _MOST) -> bytes:
    """The data of a chunk, or the first `most` bytes of it; fewer where the file is cut."""
    file.seek(chunk.start + 8)
    return file.read(min(chunk.length, most))


def true_checksum(file: BinaryIO, chunk: Chunk) -> int:
    """The checksum that a chunk should have."""
    file.seek(chunk.start + 4)
    left, check = chunk.length + 4, 0
    while left > 0 and (data := file.read(min(left, _READ))):
        check = zlib.crc32(data, check)
        left -= len(data)
    return check


def stored_checksum(file: BinaryIO, chunk: Chunk) -> int:
    """The checksum that a chunk has."""
    file.seek(chunk.stop - 4)
    return int.from_bytes(file.read(4), "big")
