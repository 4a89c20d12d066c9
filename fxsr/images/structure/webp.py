"""The structure of WebP files: RFC 9649, section 2."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from fxsr.images.source import Part, size_of
from fxsr.images.structure.base import Structure, append_span, damaged, file_size

_PIXELS = (b"VP8 ", b"VP8L", b"ANMF")
_FRAME_HEADER = 16
"""Bytes of a frame before its own chunks."""


def examine_webp(path: Path) -> Structure:
    """Walk over a WebP file from chunk to chunk.

    Raises:
        ImageError: it ends before its pixels do.
    """
    notes: list[str] = []
    parts: list[Part] = []
    frames, lossless = 0, False
    with path.open("rb") as file:
        size, at = file_size(file), 12
        told = 8 + int.from_bytes(_read(file, 4, 4), "little")
        while at + 8 <= size and (at < told or not frames):
            name, length = struct.unpack("<4sI", _read(file, at, 8))
            stop = at + 8 + length
            if stop > size:
                if not frames:
                    raise damaged(path, f"it ends too early: {stop - size} bytes are missing")
                notes.append(f"its chunk {name.decode('latin-1')} is cut and left out")
                break
            if name in _PIXELS:
                frames += 1
                inner = at + 8 + _FRAME_HEADER if name == b"ANMF" else at
                lossless |= frames == 1 and _is_lossless(file, inner, stop)
            append_span(parts, at, min(stop + length % 2, size))
            if stop == size and length % 2:
                parts.append(b"\0")
            at = stop + length % 2
    if not frames:
        raise damaged(path, "it ends before its pixels begin")
    held = size_of(parts)
    if told != 12 + held:
        notes.append(f"its header states a length of {told} bytes, but it holds {12 + held}; all its pixels are there")
    return Structure(tuple(notes), (b"RIFF" + struct.pack("<I", 4 + held) + b"WEBP", *parts), lossless=lossless)


def _is_lossless(file: BinaryIO, at: int, stop: int) -> bool:
    """Whether the chunk of pixels among the chunks from `at` on is VP8L."""
    while at + 8 <= stop:
        name, length = struct.unpack("<4sI", _read(file, at, 8))
        if name in (b"VP8 ", b"VP8L"):
            return bool(name == b"VP8L")
        at += 8 + length + length % 2
    return False


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size).ljust(size, b"\0")
