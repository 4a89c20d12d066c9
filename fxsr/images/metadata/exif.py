"""EXIF: a TIFF structure, changed in place where it says what is no longer true.

All other bytes stay where they are, because the notes of camera makers refer to places in the structure. Damaged
structures are changed as far as they can be read.

Source: Exif 3.0 (CIPA DC-008), 4.6.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction

from fxsr.images.metadata.values import CENTIMETRE, INCH, MOST_BYTES, Resolution
from fxsr.images.tiff_directory import (
    EXIF,
    GPS,
    INTEROP,
    LONG,
    RATIONAL,
    SHORT,
    Directory,
    Entry,
    Layout,
    Place,
    read_directory,
    read_entries,
    read_layout,
    write_structure,
)

ORIENTATION = 274
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
_WIDTHS = ((None, 256), (EXIF, 0xA002), (INTEROP, 0x1001))
_HEIGHTS = ((None, 257), (EXIF, 0xA003), (INTEROP, 0x1002))
"""Where the size of the image stands: the directory, and the tag."""
_SUBJECTS = (0x9214, 0xA214)
"""The main subject: its middle, or that and its size, in pixels."""
_THUMBNAIL, _THUMBNAIL_BYTES = 513, 514
_PREFIX = b"Exif\0"
_NAMES = {0x927C: "the maker's note", 0x9286: "the user's comment"}


class Exif:
    """A TIFF structure in memory that can be changed."""

    def __init__(self, data: bytes) -> None:
        """Raises: ValueError: this is no such structure."""
        self.data = bytearray(data)
        file = io.BytesIO(data)
        found = read_layout(file)
        if not found or found[0].big:
            raise ValueError("no EXIF")
        self.layout: Layout = found[0]
        self.directories: dict[int | None, Directory] = {}
        """By the tag that points to each; None for the first."""
        with suppress(ValueError):
            self.directories[None] = read_directory(file, self.layout, found[1])
        for tag, outer in ((EXIF, None), (GPS, None), (INTEROP, EXIF)):
            offset = self.number(outer, tag)
            if offset:
                with suppress(ValueError):
                    self.directories[tag] = read_directory(file, self.layout, offset)

    def place(self, directory: int | None, tag: int) -> Place | None:
        """Where an entry is, if there is one."""
        return self.directories[directory].places.get(tag) if directory in self.directories else None

    def number(self, directory: int | None, tag: int) -> int | None:
        """The value of an entry, if it is one whole number."""
        place = self.place(directory, tag)
        letter = {1: "B", SHORT: "H", LONG: "I", 13: "I"}.get(place.kind) if place else None
        if not place or not letter:
            return None
        return int(struct.unpack_from(self.layout.order + letter, self.data, place.value)[0])

    def set_number(self, place: Place, value: int) -> None:
        """Replace an entry by one whole number."""
        kind = SHORT if place.kind == SHORT and value <= 0xFFFF else LONG
        letters = self.layout.order + ("HHIHxx" if kind == SHORT else "HHII")
        struct.pack_into(letters, self.data, place.at, place.tag, kind, 1, value)

    def entries(self, directory: int | None, most: int = MOST_BYTES) -> list[Entry]:
        """The entries of a directory, without those that point to another one."""
        if directory not in self.directories:
            return []
        places = self.directories[directory].places
        wanted = [place for tag, place in places.items() if tag not in (EXIF, GPS, INTEROP)]
        return read_entries(io.BytesIO(self.data), self.layout, wanted, most)[0]

    def drop_thumbnail(self) -> None:
        """Remove the second directory, and overwrite the image that it describes. Changes come before this."""
        main = self.directories.get(None)
        if not main or not main.next:
            return
        struct.pack_into(self.layout.order + "I", self.data, main.next_at, 0)
        with suppress(ValueError):
            self.directories[_THUMBNAIL] = read_directory(io.BytesIO(self.data), self.layout, main.next)
            offset, length = self.number(_THUMBNAIL, _THUMBNAIL), self.number(_THUMBNAIL, _THUMBNAIL_BYTES)
            del self.directories[_THUMBNAIL]
            if offset and offset >= 8 and length and self.data[offset : offset + 2] == b"\xff\xd8":
                end = min(offset + length, len(self.data))
                self.data[offset:end] = b"" if end == len(self.data) else bytes(end - offset)


def plain(blob: bytes) -> bytes:
    """EXIF without the prefix that some containers have; empty if it is none."""
    if blob.startswith(_PREFIX):
        blob = blob[6:]
    with suppress(ValueError):
        Exif(blob)
        return blob
    return b""


def orientation(exif: bytes) -> int | None:
    """1 to 8 as EXIF has it; None if it says nothing."""
    value = Exif(exif).number(None, ORIENTATION) if exif else None
    return value if value and 1 <= value <= 8 else None


def exif_resolution(exif: bytes) -> Resolution | None:
    """The resolution that the first directory states."""
    structure = Exif(exif) if exif else None
    return resolution_of({entry.tag: entry for entry in structure.entries(None)}) if structure else None


def resolution_of(entries: Mapping[int, Entry]) -> Resolution | None:
    """The resolution that entries of a directory state."""
    sides = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        numbers = entries[tag].numbers() if tag in entries and entries[tag].kind == RATIONAL else ()
        if len(numbers) < 2 or not numbers[1]:
            return None
        sides.append(Fraction(int(numbers[0]), int(numbers[1])))
    unit = entries[RESOLUTION_UNIT].numbers()[:1] if RESOLUTION_UNIT in entries else (2,)
    match unit:
        case (2,):
            return Resolution.per_inch(*sides)
        case (3,):
            return Resolution.per_centimetre(*sides)
        case _:
            return Resolution.of_shape(*sides)


def resolution_entries(resolution: Resolution) -> list[Entry]:
    """The entries that state a resolution."""
    unit, sides = 1, (resolution.across, resolution.down)
    if resolution.metres is not None:
        unit = 3 if resolution.in_centimetres else 2
        sides = resolution.per(CENTIMETRE if unit == 3 else INCH)
    entries = []
    for tag, side in zip((X_RESOLUTION, Y_RESOLUTION), sides, strict=True):
        exact = side.limit_denominator(10000)
        entries.append(Entry.of(tag, RATIONAL, min(exact.numerator, 0xFFFFFFFF), exact.denominator))
    return [*entries, Entry.of(RESOLUTION_UNIT, SHORT, unit)]


def upright(exif: bytes, orientation: int, size: tuple[int, int]) -> bytes:
    """EXIF for pixels that were turned: orientation 1, the subject where it is now, and no thumbnail.

    Args:
        orientation: how the pixels were turned, as EXIF counts.
        size: width and height before that.
    """
    structure = Exif(level(exif))
    for tag in _SUBJECTS:
        place = structure.place(EXIF, tag)
        if place and place.kind == SHORT and place.count >= 2:
            letters = f"{structure.layout.order}{place.count}H"
            x, y, *extent = struct.unpack_from(letters, structure.data, place.value)
            x, y = turned_point((x, y), orientation, size)
            if orientation > 4:
                extent.reverse()
            struct.pack_into(letters, structure.data, place.value, max(x, 0), max(y, 0), *extent)
    structure.drop_thumbnail()
    return bytes(structure.data)


def turned_point(point: tuple[int, int], orientation: int, size: tuple[int, int]) -> tuple[int, int]:
    """Where a pixel of an image of this width and height is once the image is upright."""
    x, y = point
    right, below = size[0] - 1 - x, size[1] - 1 - y
    places = [(x, y), (right, y), (right, below), (x, below), (y, x), (below, x), (below, right), (y, right)]
    return places[orientation - 1]


def level(exif: bytes) -> bytes:
    """EXIF whose orientation is 1, of pixels that were decoded upright."""
    structure = Exif(exif)
    if place := structure.place(None, ORIENTATION):
        structure.set_number(place, 1)
    return bytes(structure.data)


def resized(exif: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """EXIF of an image that was resampled from one width and height to others."""
    structure = Exif(exif)
    for places, side in ((_WIDTHS, new[0]), (_HEIGHTS, new[1])):
        for directory, tag in places:
            if place := structure.place(directory, tag):
                structure.set_number(place, side)
    for tag in _SUBJECTS:
        place = structure.place(EXIF, tag)
        if place and place.kind == SHORT:
            letters = f"{structure.layout.order}{place.count}H"
            axes = (0, 1, 0, 1) if place.count != 3 else (0, 1, 0)  # the third of three is a diameter
            found = struct.unpack_from(letters, structure.data, place.value)[: len(axes)]
            moved = [min(0xFFFF, value * new[axis] // old[axis]) for value, axis in zip(found, axes, strict=False)]
            struct.pack_into(f"{structure.layout.order}{len(moved)}H", structure.data, place.value, *moved)
    return bytes(structure.data)


def with_resolution(exif: bytes, resolution: Resolution) -> bytes:
    """EXIF that states a resolution, for formats that have no other place for it."""
    if not exif:
        return write_structure(resolution_entries(resolution), {})
    if exif_resolution(exif):
        return exif
    main, inner = directories(exif)
    stated = resolution_entries(resolution)
    replaced = {entry.tag for entry in stated}
    return write_structure([entry for entry in main if entry.tag not in replaced] + stated, inner)


def directories(exif: bytes) -> tuple[list[Entry], dict[int, list[Entry]]]:
    """The entries of the first directory, and those of the others by the tag that points to them."""
    structure = Exif(exif)
    return structure.entries(None), {tag: structure.entries(tag) for tag in (EXIF, GPS, INTEROP)}


def has_thumbnail(exif: bytes) -> bool:
    """Whether there is a second directory, which describes a thumbnail."""
    main = Exif(exif).directories.get(None)
    return bool(main and main.next)


def fitted(exif: bytes, most: int) -> tuple[bytes, list[str]]:
    """EXIF of at most so many bytes, and what had to be left out for that: the thumbnail, then the longest entries."""
    if len(exif) <= most:
        return exif, []
    lost = ["the thumbnail"] if has_thumbnail(exif) else []
    main, inner = directories(exif)
    size = len(write_structure(main, inner))
    groups = [(entry, group) for group in (main, *inner.values()) for entry in group]
    for entry, group in sorted(groups, key=lambda owned: -len(owned[0].data)):
        if size <= most:
            break
        group.remove(entry)
        size -= 12 + (len(entry.data) if len(entry.data) > 4 else 0)
        lost.append(_NAMES.get(entry.tag, f"entry 0x{entry.tag:04x}"))
    return write_structure(main, inner), lost
