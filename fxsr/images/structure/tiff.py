"""The structure of TIFF files: TIFF 6.0, section 2, and BigTIFF; for camera raw files TIFF/EP and DNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fxsr.errors import ImageError
from fxsr.images.source import Part, Span
from fxsr.images.structure.base import LONGEST, Structure, damaged, file_size, read_exactly
from fxsr.images.structure.jpeg_source import jpeg_fault

_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _STRIP_SIZES = 254, 259, 262, 273, 279
_TILES, _TILE_SIZES, _SUB_IFDS, _DNG = 324, 325, 330, 50706
_WIDTH, _HEIGHT, _JPEG_TABLES = 256, 257, 347
_CFA, _LINEAR_RAW, _NONE, _JPEG, _DEFLATE = 32803, 34892, 1, 7, (8, 32946)
_NEEDED = {*range(254, 267), *range(273, 285), 317, 320, *range(322, 326), 330, 332, 338, 339, 347, *range(529, 533)}
"""Tags that say what the pixels are."""
_TYPES = {1: "B", 7: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of whole numbers, by their code."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_PIECE = 1 << 20
_MOST = 1 << 24
"""Largest number of values of an entry that is read."""

Directory = Mapping[int, "np.ndarray[tuple[int], np.dtype[np.integer]]"]
"""The entries of whole numbers of an image file directory."""


@dataclass(frozen=True)
class _Layout:
    """The byte order, and the widths that differ between TIFF and BigTIFF."""

    order: str
    big: bool
    first: int
    """Where the first directory is."""

    @property
    def word(self) -> str:
        return "Q" if self.big else "I"

    @property
    def width(self) -> int:
        """Bytes of an offset."""
        return 8 if self.big else 4


def examine_tiff(path: Path) -> Structure:
    """Read the first directory of a TIFF file. Uncompressed strips are left to the decoder, which knows what it needs.

    Raises:
        ImageError: it ends before its pixels do, or is a camera raw file.
    """
    with path.open("rb") as file:
        size = file_size(file)
        try:
            layout = _read_layout(file)
            directory, following, at = _read_directory(file, layout, layout.first)
        except (EOFError, struct.error):
            raise damaged(path, "it ends too early: its directory is cut") from None
        notes: tuple[str, ...] = ()
        parts: tuple[Part, ...] = ()
        if not _is_chain(file, layout, following):
            notes = ("its directory of further pages is cut or damaged",)
            parts = Span(0, at), bytes(layout.width), Span(at + layout.width, size)  # libtiff would give up
    if _is_raw(directory):
        raise ImageError(f"{path}: is a camera raw file (DNG, NEF, ARW or another); develop it to TIFF or JPEG first")
    width, height = (_value(directory, tag, 1) for tag in (_WIDTH, _HEIGHT))
    if not 0 < max(width, height) <= LONGEST:
        raise damaged(path, f"it states a size of {width}x{height}; no side may exceed {LONGEST}")
    compression = _value(directory, _COMPRESSION, _NONE)
    if compression == _NONE:
        return Structure(notes, parts)
    places, lengths = (_TILES, _TILE_SIZES) if _TILES in directory else (_STRIPS, _STRIP_SIZES)
    starts, sizes = (directory.get(tag, np.zeros(0)).astype(np.int64) for tag in (places, lengths))
    strips = tuple(Span(start, start + length) for start, length in zip(starts.tolist(), sizes.tolist(), strict=False))
    if beyond := sum(strip.stop > size for strip in strips):
        raise damaged(path, f"it ends too early: {beyond} of its {len(strips)} strips or tiles lie behind its end")
    tables = directory.get(_JPEG_TABLES, np.zeros(0)).astype(np.uint8).tobytes().removesuffix(b"\xff\xd9")
    return Structure(notes, parts, check=partial(_check, path, compression, strips, tables))


def _check(path: Path, compression: int, strips: tuple[Span, ...], tables: bytes) -> None:
    """Look into compressed strips: libtiff ends at the last pixel, in front of the checksum of Deflate, and is silent
    about what libjpeg warns of."""
    if compression not in (_JPEG, *_DEFLATE):
        return
    with path.open("rb") as file:
        for number, strip in enumerate(strips):
            file.seek(strip.start)
            data = file.read(strip.stop - strip.start)
            if not data:
                continue
            if compression == _JPEG:
                why = jpeg_fault(tables + data.removeprefix(b"\xff\xd8") if tables else data)
            else:
                why = _deflate_fault(data)
            if why:
                raise damaged(path, f"strip or tile {number}: {why}")


def _deflate_fault(data: bytes) -> str | None:
    packed = zlib.decompressobj()
    try:
        while data and not packed.eof:
            packed.decompress(data, _PIECE)
            data = packed.unconsumed_tail
    except zlib.error as error:
        return str(error)
    return None if packed.eof else "its compressed data are cut"


def _read_layout(file: BinaryIO) -> _Layout:
    head = read_exactly(file, 8)
    order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
    (first,) = struct.unpack(f"{order}Q", read_exactly(file, 8)) if big else struct.unpack_from(f"{order}I", head, 4)
    return _Layout(order, big, first)


def _read_directory(file: BinaryIO, layout: _Layout, start: int) -> tuple[Directory, int, int]:
    """The entries that say what the pixels are, where the next directory is, and where that is stated.

    Raises:
        EOFError: the file ends first.
    """
    file.seek(start)
    (count,) = struct.unpack(f"{layout.order}{'Q' if layout.big else 'H'}", read_exactly(file, 8 if layout.big else 2))
    entry = struct.Struct(f"{layout.order}HH{layout.word}{layout.width}s")
    entries = read_exactly(file, entry.size * min(count, _MOST))
    at = file.tell()
    (following,) = struct.unpack(f"{layout.order}{layout.word}", read_exactly(file, layout.width))
    found = {}
    for tag, kind, number, value in entry.iter_unpack(entries):
        if tag not in _NEEDED and tag != _DNG:
            continue
        length = min(number, _MOST) * _SIZES.get(kind, 1)
        if length > len(value):
            file.seek(struct.unpack(f"{layout.order}{layout.word}", value)[0])
            value = read_exactly(file, length)
        whole = np.frombuffer(value[:length], f"{layout.order}{_TYPES.get(kind, 'B')}")
        found[tag] = whole if kind in _TYPES else np.zeros(1, np.uint8)
    return found, following, at


def _is_chain(file: BinaryIO, layout: _Layout, start: int) -> bool:
    """Whether the directories from `start` on are all there, and are no circle."""
    seen: set[int] = set()
    try:
        while start:
            if start in seen:
                return False
            seen.add(start)
            _, start, _ = _read_directory(file, layout, start)
    except (EOFError, struct.error):
        return False
    return True


def _value(directory: Directory, tag: int, default: int) -> int:
    values = directory.get(tag)
    return default if values is None or not len(values) else int(values[0])


def _is_raw(directory: Directory) -> bool:
    """Whether the file holds the values of a sensor, with at most a preview that TIFF readers would take for it."""
    preview = _value(directory, _SUBFILE, 0) & 1 and _SUB_IFDS in directory
    return bool(_DNG in directory or preview or _value(directory, _PHOTOMETRIC, 0) in (_CFA, _LINEAR_RAW))
