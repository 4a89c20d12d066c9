"""The structure of TIFF files: TIFF 6.0, section 2, and BigTIFF; for camera raw files TIFF/EP and DNG."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import ImageError
from fxsr.images.source import Part, Span
from fxsr.images.structure.base import LONGEST, Structure, damaged, file_size
from fxsr.images.structure.jpeg_source import jpeg_fault
from fxsr.images.tiff_directory import Directory, Entry, Layout, read_directory, read_entry, read_layout

_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _STRIP_SIZES = 254, 259, 262, 273, 279
_TILES, _TILE_SIZES, _SUB_IFDS, _DNG = 324, 325, 330, 50706
_WIDTH, _HEIGHT, _JPEG_TABLES = 256, 257, 347
_CFA, _LINEAR_RAW, _NONE, _JPEG, _DEFLATE = 32803, 34892, 1, 7, (8, 32946)
_NEEDED = {*range(254, 267), *range(273, 285), 317, 320, *range(322, 326), 330, 332, 338, 339, 347, *range(529, 533)}
"""Tags that say what the pixels are."""
_WHOLE = {1, 3, 4, 13, 16, 18}
"""Types of whole numbers from 0 on."""
_PIECE = 1 << 20
_MOST = 1 << 24
"""Largest number of values of an entry that is read."""


def examine_tiff(path: Path) -> Structure:
    """Read the first directory of a TIFF file. Uncompressed strips are left to the decoder, which knows what it needs.

    Raises:
        ImageError: it ends before its pixels do, or is a camera raw file.
    """
    with path.open("rb") as file:
        size = file_size(file)
        try:
            layout, first = _opened(file)
            directory = _read(file, layout, first)
        except ValueError:
            raise damaged(path, "it ends too early: its directory is cut") from None
        entries = _values(file, layout, directory)
        notes: tuple[str, ...] = ()
        parts: tuple[Part, ...] = ()
        if not _is_chain(file, layout, directory.next):
            notes = ("its directory of further pages is cut or damaged",)
            at, width = directory.next_at, layout.pointer_bytes
            parts = Span(0, at), bytes(width), Span(at + width, size)  # libtiff would give up
    if _is_raw(entries):
        raise ImageError(f"{path}: is a camera raw file (DNG, NEF, ARW or another); develop it to TIFF or JPEG first")
    width, height = (_value(entries, tag, 1) for tag in (_WIDTH, _HEIGHT))
    if not 0 < max(width, height) <= LONGEST:
        raise damaged(path, f"it states a size of {width}x{height}; no side may exceed {LONGEST}")
    compression = _value(entries, _COMPRESSION, _NONE)
    if compression == _NONE:
        return Structure(notes, parts)
    places, lengths = (_TILES, _TILE_SIZES) if _TILES in entries else (_STRIPS, _STRIP_SIZES)
    starts, sizes = _numbers(entries, places), _numbers(entries, lengths)
    strips = tuple(Span(start, start + length) for start, length in zip(starts, sizes, strict=False))
    if beyond := sum(strip.stop > size for strip in strips):
        raise damaged(path, f"it ends too early: {beyond} of its {len(strips)} strips or tiles lie behind its end")
    tables = entries[_JPEG_TABLES].data.removesuffix(b"\xff\xd9") if _JPEG_TABLES in entries else b""
    return Structure(notes, parts, check=partial(_check, path, compression, strips, tables))


def _opened(file: BinaryIO) -> tuple[Layout, int]:
    """The layout of a TIFF file, and where its first directory is.

    Raises:
        ValueError: the file ends first.
    """
    if opened := read_layout(file):
        return opened
    raise ValueError("no header")


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


def _read(file: BinaryIO, layout: Layout, offset: int) -> Directory:
    """A directory all of whose entries that say what the pixels are can be read.

    Raises:
        ValueError: the file ends first.
    """
    directory = read_directory(file, layout, offset)
    if directory.cut or not directory.lost.isdisjoint(_NEEDED):
        raise ValueError("the directory is cut")
    return directory


def _values(file: BinaryIO, layout: Layout, directory: Directory) -> dict[int, Entry]:
    """The entries of a directory that say what the pixels are, with their first `_MOST` values at most."""
    return {
        tag: read_entry(file, layout, replace(place, count=min(place.count, _MOST)))
        for tag, place in directory.places.items()
        if tag in _NEEDED or tag == _DNG
    }


def _is_chain(file: BinaryIO, layout: Layout, start: int) -> bool:
    """Whether the directories from `start` on are all there, and are no circle."""
    seen: set[int] = set()
    try:
        while start:
            if start in seen:
                return False
            seen.add(start)
            start = _read(file, layout, start).next
    except ValueError:
        return False
    return True


def _numbers(entries: Mapping[int, Entry], tag: int) -> tuple[int, ...]:
    entry = entries.get(tag)
    return entry.numbers() if entry and entry.kind in _WHOLE else ()


def _value(entries: Mapping[int, Entry], tag: int, default: int) -> int:
    return next(iter(_numbers(entries, tag)), default)


def _is_raw(entries: Mapping[int, Entry]) -> bool:
    """Whether the file holds the values of a sensor, with at most a preview that TIFF readers would take for it."""
    preview = _value(entries, _SUBFILE, 0) & 1 and _SUB_IFDS in entries
    return bool(_DNG in entries or preview or _value(entries, _PHOTOMETRIC, 0) in (_CFA, _LINEAR_RAW))
