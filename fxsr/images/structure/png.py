"""The structure of PNG files: PNG specification (third edition), section 5."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from fxsr.images.png_chunks import SIGNATURE, Chunk, chunk_data, stored_checksum, true_checksum, walk_chunks
from fxsr.images.source import Part, Span
from fxsr.images.structure.base import Structure, append_span, damaged, file_size

_MEANING = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT")
"""Chunks that say what the pixels mean: damage there makes the pixels unknown."""
_UNCHECKED = (b"IDAT", b"fcTL", b"fdAT")
"""Chunks whose checksum is left to the decoder, and those of later frames."""
_END = b"\0\0\0\0IEND\xaeB`\x82"


def examine_png(path: Path) -> Structure:
    """Walk over a PNG file from chunk to chunk. The decoder checks the pixels' own checksums.

    Raises:
        ImageError: it ends before its pixels do, or a chunk that says what they mean is damaged.
    """
    notes: list[str] = []
    parts: list[Part] = [Span(0, len(SIGNATURE))]
    pixels = end = False
    with path.open("rb") as file:
        size = file_size(file)
        for chunk in walk_chunks(file):
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
            if chunk.name not in _UNCHECKED and true_checksum(file, chunk) != stored_checksum(file, chunk):
                if chunk.name in _MEANING:
                    raise damaged(path, f"the checksum of its chunk {label} is wrong")
                notes.append(f"the checksum of its chunk {label} is wrong; the chunk is left out")
                continue
            if chunk.name == b"acTL" and (frames := int.from_bytes(chunk_data(file, chunk, 4), "big")) > 1:
                notes.append(f"has {frames} pages or frames; only the first is upscaled")
            append_span(parts, chunk.start, chunk.stop)
    if not pixels:
        raise damaged(path, "it ends before its pixels begin")
    if not end:
        notes.append("has no end marker; all its pixels are there")
    return Structure(tuple(notes), (*parts, _END))


def _without_checksum(path: Path, file: BinaryIO, chunk: Chunk, size: int) -> list[Part]:
    """A chunk of pixels at the end of a file of which nothing but the checksum is cut.

    Raises:
        ImageError: more is cut.
    """
    missing = chunk.stop - 4 - size
    if missing > 0:
        raise damaged(path, f"it ends too early: at least {missing} bytes of its pixels are missing")
    return [Span(chunk.start, chunk.stop - 4), struct.pack(">I", true_checksum(file, chunk))]
