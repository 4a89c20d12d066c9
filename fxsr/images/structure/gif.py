"""The structure of GIF files: GIF89a specification."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fxsr.images.structure.base import Structure, damaged, read_exactly

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_WIDEST, _CODES = 12, 1 << 12
"""Bits of the longest code, and the number of such codes."""


@dataclass(frozen=True)
class _Frame:
    """A frame that is not decoded."""

    pixels: int
    """Their number."""
    bits: int
    """The smallest size of a code, less one."""
    data: bytes


def examine_gif(path: Path) -> Structure:
    """Walk over a GIF file from block to block.

    Raises:
        ImageError: it ends before the pixels of its first frame do.
    """
    first: _Frame | None = None
    ended = False
    with path.open("rb") as file:
        try:
            head = read_exactly(file, 13)
            _skip_colours(file, head[10])
            while not ended:
                kind = read_exactly(file, 1)[0]
                if kind == _EXTENSION:
                    read_exactly(file, 1)
                    _skip_blocks(file)
                elif kind == _IMAGE:
                    _, _, width, height, flags = struct.unpack("<HHHHB", read_exactly(file, 9))
                    _skip_colours(file, flags)
                    bits = read_exactly(file, 1)[0]
                    data = _skip_blocks(file)
                    first = first or _Frame(width * height, bits, data)
                elif kind == _TRAILER:
                    ended = True
                else:
                    break
        except EOFError:
            pass
    if first is None:
        raise damaged(path, "it ends before its pixels do")
    notes = () if ended else ("has no end marker; all pixels of its first frame are there",)
    return Structure(notes, check=partial(_check, path, first))


def _check(path: Path, frame: _Frame) -> None:
    missing = frame.pixels - count_pixels(frame.data, frame.bits, frame.pixels)
    if missing:
        raise damaged(path, f"{missing} pixels of its first frame are missing")


def _skip_colours(file: BinaryIO, flags: int) -> None:
    """Skip a table of colours if the flags say that there is one."""
    if flags & 0x80:
        read_exactly(file, 3 << (flags & 7) + 1)


def _skip_blocks(file: BinaryIO) -> bytes:
    """Skip sub-blocks and the empty one that ends them; returns their data."""
    blocks = []
    while size := read_exactly(file, 1)[0]:
        blocks.append(read_exactly(file, size))
    return b"".join(blocks)


def count_pixels(data: bytes, bits: int, most: int) -> int:
    """The number of pixels in LZW data (GIF89a, appendix F), counted up to `most`.

    Args:
        bits: the smallest size of a code, less one.
    """
    clear, end = 1 << bits, (1 << bits) + 1
    lengths = [1] * clear + [0, 0]
    width, previous, count = bits + 1, 0, 0
    word = held = 0
    for byte in data:
        word |= byte << held
        held += 8
        while held >= width:
            code = word & (1 << width) - 1
            word >>= width
            held -= width
            if code == clear:
                del lengths[clear + 2 :]
                width, previous = bits + 1, 0
                continue
            if code == end or code > len(lengths) or (code == len(lengths) and not previous):
                return count
            if previous and len(lengths) < _CODES:
                lengths.append(previous + 1)
                if len(lengths) == 1 << width and width < _WIDEST:
                    width += 1
            previous = lengths[code] if code < len(lengths) else previous + 1
            count += previous
            if count >= most:
                return most
    return count
