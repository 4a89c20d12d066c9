"""What the boxes of a HEIC or AVIF file say of the colours and alpha of its main picture.

Structures follow ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fxsr.images.cicp import encoding_of_codes
from fxsr.images.colour import Encoding

_MOST_META = 1 << 24
"""Largest meta box that is looked at, in bytes."""
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"miaf")


@dataclass(frozen=True)
class HeifColour:
    """What a file says of its main picture."""

    encoding: Encoding | None = None
    """None: nothing, or an ICC profile says it."""
    premultiplied: bool = False
    """Whether its colours are multiplied by its alpha."""


def heif_colour(path: Path) -> HeifColour | None:
    """What a HEIC or AVIF file says; None if it is none. Damaged boxes count as absent.

    Raises:
        ImageError: its code points mean something that can't be converted; the message has no file name.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] != b"ftyp" or head[8:12] not in _BRANDS:
            return None
        file.seek(0)
        meta = b""
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if size == 1:
                size = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0] - 8
            if kind == b"meta":
                meta = file.read(min(size - 8, _MOST_META))
                break
            if size < 8:
                break
            file.seek(size - 8, 1)
    try:
        return _read_meta(meta[4:])
    except (struct.error, IndexError, KeyError):
        return HeifColour()


def _read_meta(meta: bytes) -> HeifColour:
    boxes = dict(_boxes(meta))
    main = int.from_bytes(boxes[b"pitm"][4 : 8 if boxes[b"pitm"][0] else 6], "big")
    premultiplied = any(
        kind == b"prem" and int.from_bytes(data[: 4 if boxes[b"iref"][0] else 2], "big") == main
        for kind, data in _boxes(boxes.get(b"iref", b"")[4:])
    )
    parts = dict(_boxes(boxes[b"iprp"]))
    properties = list(_boxes(parts[b"ipco"]))
    colours = [
        properties[index - 1][1]
        for index in _associated(parts[b"ipma"], main)
        if 0 < index <= len(properties) and properties[index - 1][0] == b"colr"
    ]
    if any(data[:4] in (b"prof", b"rICC") for data in colours):
        return HeifColour(None, premultiplied)
    for data in colours:
        if data[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", data, 4)
            # the decoder has already applied the matrix and the range
            return HeifColour(encoding_of_codes("nclx", primaries, transfer, True), premultiplied)
    return HeifColour(None, premultiplied)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


def _associated(data: bytes, item: int) -> list[int]:
    """Numbers of the properties of an item, from 1 (ItemPropertyAssociationBox)."""
    wide_item, wide_index = data[0] >= 1, bool(data[3] & 1)
    (entries,) = struct.unpack_from(">I", data, 4)
    at = 8
    for _ in range(entries):
        (number,) = struct.unpack_from(">I" if wide_item else ">H", data, at)
        at += 4 if wide_item else 2
        count = data[at]
        at += 1
        layout = f">{count}{'H' if wide_index else 'B'}"
        if number == item:
            mask = 0x7FFF if wide_index else 0x7F
            return [value & mask for value in struct.unpack_from(layout, data, at)]
        at += struct.calcsize(layout)
    return []
