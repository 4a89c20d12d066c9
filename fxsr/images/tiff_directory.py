"""TIFF directories (IFDs), which TIFF files and EXIF consist of: read and written as raw entries.

Values are not interpreted, only their byte order is known, so what no library knows is carried over as well.
Source: TIFF 6.0, section 2; BigTIFF, as libtiff's specification of it says.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the type of an entry."""
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes that are stored in the file's byte order together, where it is more than one."""
LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""Letters of types of numbers, as in `struct`."""
BYTE, TEXT, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7

_FIRST = 8
"""The first offset behind the header."""
EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005
"""Entries that point to a directory of their own."""


@dataclass(frozen=True)
class Layout:
    """How the numbers of a TIFF structure are stored."""

    order: str = "<"
    """"<" or ">", as in `struct`."""
    big: bool = False
    """BigTIFF: counts and offsets have 8 bytes."""

    @property
    def pointer_bytes(self) -> int:
        """Bytes of an offset."""
        return 8 if self.big else 4

    @property
    def entry_bytes(self) -> int:
        """Bytes of an entry of a directory."""
        return 20 if self.big else 12


@dataclass(frozen=True)
class Entry:
    """One entry of a directory."""

    tag: int
    kind: int
    """Type of its values; see `SIZES`."""
    data: bytes
    """The values as stored in little-endian order."""

    @staticmethod
    def of(tag: int, kind: int, *values: float) -> Entry:
        """An entry of numbers; for rationals, numerators and denominators."""
        letter = "I" if kind == RATIONAL else LETTERS[kind]
        return Entry(tag, kind, struct.pack(f"<{len(values)}{letter}", *values))

    @property
    def count(self) -> int:
        """Number of its values."""
        return len(self.data) // SIZES[self.kind]

    def numbers(self) -> tuple[Any, ...]:
        """Its values; for rationals, numerators and denominators. Empty for text and bytes of no known meaning."""
        letter = {5: "I", 10: "i"}.get(self.kind) or LETTERS.get(self.kind)
        if letter is None:
            return ()
        return struct.unpack(f"<{len(self.data) // struct.calcsize('<' + letter)}{letter}", self.data)


@dataclass(frozen=True)
class Place:
    """Where an entry lies in its file."""

    tag: int
    kind: int
    count: int
    at: int
    """Offset of the entry in its directory."""
    value: int
    """Offset of its values."""

    @property
    def length(self) -> int:
        """Bytes of its values."""
        return self.count * SIZES.get(self.kind, 0)


@dataclass(frozen=True)
class Directory:
    """The entries of a directory, by tag."""

    places: Mapping[int, Place]
    next: int
    """Offset of the next directory, 0 for none."""
    next_at: int
    """Where that offset is stored."""
    lost: frozenset[int]
    """Tags of entries whose values lie outside the file."""
    cut: bool
    """Whether the file ends within the directory."""


def read_layout(file: BinaryIO) -> tuple[Layout, int] | None:
    """The layout of the TIFF structure that a file begins with, and the offset of its first directory.

    None: it is no TIFF structure.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version == 43 and len(head) == 16:
        return Layout(order, big=True), struct.unpack_from(f"{order}Q", head, 8)[0]
    # 42, or what some cameras write in its place; EXIF readers don't mind
    return (Layout(order), struct.unpack_from(f"{order}I", head, 4)[0]) if version != 43 else None


def read_directory(file: BinaryIO, layout: Layout, offset: int) -> Directory:
    """Read a directory without the values. Entries that lie outside the file are left out, as are unknown types.

    Raises:
        ValueError: there is no directory.
    """
    size = file.seek(0, 2)
    counter = "Q" if layout.big else "H"
    file.seek(offset)
    head = file.read(struct.calcsize(counter))
    if not _FIRST <= offset < size or len(head) < struct.calcsize(counter):
        raise ValueError("no directory")
    (stated,) = struct.unpack(layout.order + counter, head)
    begin = offset + len(head)
    count = min(stated, (size - begin) // layout.entry_bytes, 0xFFFF)
    table = file.read(count * layout.entry_bytes)
    places: dict[int, Place] = {}
    lost = set()
    for at in range(0, len(table) - layout.entry_bytes + 1, layout.entry_bytes):
        tag, kind, number = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), table, at)
        inner = layout.entry_bytes - layout.pointer_bytes
        value = begin + at + inner
        length = number * SIZES.get(kind, 0)
        if length > layout.pointer_bytes:
            (value,) = struct.unpack_from(layout.order + ("Q" if layout.big else "I"), table, at + inner)
        if length and not _FIRST <= value <= size - length:
            lost.add(tag)
        elif length:
            places.setdefault(tag, Place(tag, kind, number, begin + at, value))
    after = begin + len(table)
    file.seek(after)
    tail = file.read(layout.pointer_bytes)
    following = 0
    if whole := len(tail) == layout.pointer_bytes:
        (following,) = struct.unpack(layout.order + ("Q" if layout.big else "I"), tail)
    return Directory(places, following, after, frozenset(lost), not whole or count < stated)


def read_entry(file: BinaryIO, layout: Layout, place: Place) -> Entry:
    """An entry with its values."""
    file.seek(place.value)
    data = file.read(place.length)
    if layout.order == ">":
        data = swapped(data, place.kind)
    return Entry(place.tag, place.kind, data)


def read_entries(file: BinaryIO, layout: Layout, places: Sequence[Place], most: int) -> tuple[list[Entry], list[int]]:
    """Entries with their values, as far as these have `most` bytes together; and the tags of the others."""
    entries, left_out = [], []
    for place in places:
        most -= place.length
        if most < 0:
            left_out.append(place.tag)
            most += place.length
        else:
            entries.append(read_entry(file, layout, place))
    return entries, left_out


def swapped(data: bytes, kind: int) -> bytes:
    """Values of a type in the other byte order."""
    word = _WORDS.get(kind)
    return np.frombuffer(data, f"u{word}").byteswap().tobytes() if word else data


def write_directories(
    layout: Layout, base: int, main: Sequence[Entry], inner: Mapping[int, Sequence[Entry]], old: bytes = b""
) -> bytes:
    """A directory and those that it points to, as they are stored from offset `base`, which is even.

    Args:
        main: the entries of the first directory.
        inner: the entries of those that a tag points to (`EXIF`, `GPS`); that of `INTEROP` hangs on the EXIF's.
        old: entries of the first directory as they are stored, whose values lie elsewhere in the file.
    """
    inner = {tag: entries for tag, entries in inner.items() if entries}
    if INTEROP in inner:
        inner.setdefault(EXIF, [])
    parts = bytearray()
    number = len(main) + sum(tag in inner for tag in (EXIF, GPS))
    parts += bytes(_directory_bytes(layout, number + len(old) // layout.entry_bytes))
    offsets: dict[int, int] = {}
    for tag in (INTEROP, EXIF, GPS):
        if tag in inner:
            pointers = [_pointer(layout, INTEROP, offsets[INTEROP])] if tag == EXIF and INTEROP in offsets else []
            entries = [*inner[tag], *pointers]
            at = base + len(parts)
            parts += bytes(_directory_bytes(layout, len(entries)))
            table = _table(layout, entries, base, parts)
            parts[at - base : at - base + len(table)] = table
            offsets[tag] = at
    pointers = [_pointer(layout, tag, offsets[tag]) for tag in (EXIF, GPS) if tag in offsets]
    table = _table(layout, [*main, *pointers], base, parts, old)
    parts[: len(table)] = table
    return bytes(parts)


def _pointer(layout: Layout, tag: int, offset: int) -> Entry:
    return Entry.of(tag, 16 if layout.big else LONG, offset)


def _directory_bytes(layout: Layout, entries: int) -> int:
    size = (8 if layout.big else 2) + entries * layout.entry_bytes + layout.pointer_bytes
    return size + size % 2


def _table(layout: Layout, entries: Sequence[Entry], base: int, parts: bytearray, old: bytes = b"") -> bytes:
    """A directory as it is stored; values that don't fit into it are appended to `parts`."""
    order, pointer = layout.order, "Q" if layout.big else "I"
    stored = [old[at : at + layout.entry_bytes] for at in range(0, len(old), layout.entry_bytes)]
    for entry in entries:
        data = entry.data if order == "<" else swapped(entry.data, entry.kind)
        head = struct.pack(order + "HH" + pointer, entry.tag, entry.kind, entry.count)
        if len(data) > layout.pointer_bytes:
            where = base + len(parts)
            parts += data + bytes(len(data) % 2)
            data = struct.pack(order + pointer, where)
        stored.append(head + data.ljust(layout.pointer_bytes, b"\0"))
    stored.sort(key=lambda entry: int(struct.unpack(order + "H", entry[:2])[0]))
    count = struct.pack(order + ("Q" if layout.big else "H"), len(stored))
    return count + b"".join(stored) + bytes(layout.pointer_bytes)


def write_structure(main: Sequence[Entry], inner: Mapping[int, Sequence[Entry]]) -> bytes:
    """A little-endian TIFF structure of these directories, as EXIF is."""
    return struct.pack("<2sHI", b"II", 42, 8) + write_directories(Layout(), 8, main, inner)
