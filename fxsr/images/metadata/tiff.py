"""Metadata in TIFF files: all entries of the first directory that are not about how pixels are stored.

Source: TIFF 6.0; BigTIFF; the technical notes on XMP, IPTC, Photoshop and GeoTIFF entries.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from fxsr.images.metadata import exif, geo, photoshop, xmp
from fxsr.images.metadata.exif import ORIENTATION, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION
from fxsr.images.metadata.found import Found
from fxsr.images.metadata.values import MOST_BYTES, Metadata, listed, text_names
from fxsr.images.tiff_directory import (
    BYTE,
    EXIF,
    GPS,
    INTEROP,
    LONG,
    UNDEFINED,
    Directory,
    Entry,
    Layout,
    Place,
    read_directory,
    read_entries,
    read_entry,
    read_layout,
    write_directories,
    write_structure,
)

_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_RESOLUTION = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
_LAYERS, _SUB_DIRECTORIES = 37724, 330
_OWN = {_XMP, _IPTC, _PHOTOSHOP, _ICC, _LAYERS, ORIENTATION, EXIF, GPS, INTEROP, *_RESOLUTION, *geo.TAGS}
"""Entries that a field of `Metadata` holds, or that point to other directories."""
_STORAGE = {
    *range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(286, 294), 297,
    317, *range(320, 339), *range(339, 348), 400, 401, 402, 403, 404, 405, 433, 434, 435,
    *range(512, 522), *range(529, 533), 559, 32781, 32995, 32996, 32997, 32998, 34232,
}  # fmt: skip
"""Entries that describe how pixels, pages and thumbnails are stored."""
_DESCRIPTION = 270
_IMAGEJ = {50838, 50839}
"""ImageJ's own entries, which belong to its description."""
_ARRAY = re.compile(rb"\s*(ImageJ=|\{\"shape\":|(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<OME\b)", re.DOTALL)
"""How descriptions by ImageJ, tifffile and OME begin: they give sizes, pages and the meaning of values."""


def read_tiff(file: BinaryIO) -> Found:
    """What the first image of a TIFF file says besides its pixels."""
    found = Found()
    opened = read_layout(file)
    if not opened:
        return found
    layout, offset = opened
    try:
        main = read_directory(file, layout, offset)
    except ValueError:
        return found

    def entry(tag: int) -> Entry | None:
        place = main.places.get(tag)
        if place and place.length > MOST_BYTES:
            found.say_too_much()
            return None
        return read_entry(file, layout, place) if place else None

    if stated := entry(ORIENTATION):
        turn = (*stated.numbers(), 1)[0]
        found.orientation = turn if turn in range(1, 9) else 1
    resolution = {tag: each for tag in _RESOLUTION if (each := entry(tag))}
    found.resolution = exif.resolution_of(resolution)
    if packet := entry(_XMP):
        found.xmp = xmp.normal(packet.data)
    if blocks := entry(_PHOTOSHOP):
        found.iptc, found.photoshop = photoshop.split(blocks.data)
    if records := entry(_IPTC):
        found.iptc = _bytes_of(records, layout).rstrip(b"\0") or found.iptc
    found.geo = [each for tag in geo.TAGS if (each := entry(tag))]
    if _LAYERS in main.places:
        found.say("Photoshop's layers are left out")
    if _SUB_DIRECTORIES in main.places:
        found.say("further pictures in the file (previews or masks) are left out")
    found.exif = _exif_of(file, layout, main, found)
    return found


def _bytes_of(entry: Entry, layout: Layout) -> bytes:
    """Bytes that some programs declare as longs, which leaves them in the file's order."""
    if entry.kind == LONG and layout.order == ">":
        return struct.pack(f">{entry.count}I", *entry.numbers())
    return entry.data


def _exif_of(file: BinaryIO, layout: Layout, main: Directory, found: Found) -> bytes:
    groups: dict[int, list[Entry]] = {}
    rest = MOST_BYTES
    wanted: dict[int, list[Place]] = {
        0: [place for tag, place in main.places.items() if tag not in _OWN and tag not in _STORAGE]
    }
    pointers = {tag: main.places[tag] for tag in (EXIF, GPS) if tag in main.places}
    for tag in (EXIF, GPS, INTEROP):
        offsets = read_entry(file, layout, pointers[tag]).numbers() if tag in pointers else ()
        with suppress(ValueError):
            if offsets:
                directory = read_directory(file, layout, offsets[0])
                if tag == EXIF and INTEROP in directory.places:
                    pointers[INTEROP] = directory.places[INTEROP]
                wanted[tag] = [each for other, each in directory.places.items() if other != INTEROP]
    for tag, places in wanted.items():
        groups[tag], left_out = read_entries(file, layout, places, rest)
        rest -= sum(len(each.data) for each in groups[tag])
        if left_out:
            found.say_too_much()
    first = groups.pop(0)
    if any(each.tag == _DESCRIPTION and _ARRAY.match(each.data) for each in first):
        first = [each for each in first if each.tag != _DESCRIPTION and each.tag not in _IMAGEJ]
        found.say("the description of sizes and values (by ImageJ, OME or tifffile) is left out")
    return write_structure(first, groups) if first or any(groups.values()) else b""


def add_to_tiff(path: Path, metadata: Metadata) -> list[str]:
    """Add metadata to a TIFF file of one image, as a new directory at its end that includes the old one's entries.

    Returns:
        What it can't hold, one line each.
    """
    main, inner = exif.directories(metadata.exif) if metadata.exif else ([], {})
    main = [entry for entry in main if entry.tag not in _OWN and entry.tag not in _STORAGE]
    for tag, kind, data in (
        (_XMP, BYTE, metadata.xmp),
        (_IPTC, UNDEFINED, metadata.iptc),
        (_PHOTOSHOP, BYTE, photoshop.joined(metadata.iptc, metadata.photoshop) if metadata.photoshop else b""),
        (_ICC, UNDEFINED, metadata.icc),
    ):
        if data:
            main.append(Entry(tag, kind, data))
    main += metadata.geo
    if metadata.resolution:
        main += exif.resolution_entries(metadata.resolution)
    new = {entry.tag for entry in main}
    with path.open("r+b") as file:
        opened = read_layout(file)
        if not opened:
            raise ValueError("not a TIFF file")
        layout, offset = opened
        directory = read_directory(file, layout, offset)
        kept = []
        for place in directory.places.values():
            if place.tag not in new and place.tag not in _RESOLUTION:
                file.seek(place.at)
                kept.append(file.read(layout.entry_bytes))
        end = file.seek(0, 2)
        begin = end + end % 2
        stored = write_directories(layout, begin, main, inner, b"".join(kept))
        file.seek(end)
        file.write(bytes(begin - end) + stored)
        file.seek(8 if layout.big else 4)
        file.write(struct.pack(layout.order + ("Q" if layout.big else "I"), begin))
    names = [*text_names(metadata.texts)]
    return [f"TIFF can't hold {listed(names)}: left out"] if names else []
