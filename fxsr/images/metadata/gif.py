"""Metadata in GIF files: comments, and XMP.

Source: GIF89a; Adobe XMP part 3, 1.1.2.
"""

from __future__ import annotations

from typing import BinaryIO

from fxsr.images.metadata import xmp
from fxsr.images.metadata.found import Found
from fxsr.images.metadata.values import COMMENT, MOST_BYTES, Text

_EXTENSION, _IMAGE = 0x21, 0x2C
_COMMENT, _APPLICATION = 0xFE, 0xFF
_XMP = b"XMP DataXMP"
_TRAILER = 257
"""Bytes behind a packet that lead readers, which see it as blocks, to its end."""


def read_gif(file: BinaryIO) -> Found:
    """What a GIF file says besides its pixels."""
    found = Found()
    file.seek(10)
    packed = file.read(3)[:1]
    _skip_palette(file, packed)
    rest = MOST_BYTES
    while len(kind := file.read(1)) == 1:
        if kind[0] == _IMAGE:
            file.seek(8, 1)
            _skip_palette(file, file.read(1))
            file.seek(1, 1)
            _blocks(file, 0)
        elif kind[0] == _EXTENSION:
            label = file.read(1)
            data, raw = _blocks(file, rest)
            rest -= len(raw)
            if rest <= 0:
                found.say_too_much()
                return found
            if label == bytes([_COMMENT]):
                found.texts.append(Text.of(COMMENT, data.rstrip(b"\0")))
            elif label == bytes([_APPLICATION]) and data.startswith(_XMP):
                found.xmp = xmp.normal(raw[len(_XMP) + 1 : -_TRAILER - 1])
        else:
            return found
    return found


def _skip_palette(file: BinaryIO, packed: bytes) -> None:
    if packed and packed[0] & 0x80:
        file.seek(3 * 2 ** ((packed[0] & 7) + 1), 1)


def _blocks(file: BinaryIO, most: int) -> tuple[bytes, bytes]:
    """The data of blocks, and the same with the length before each; of at most so many bytes."""
    data, raw = bytearray(), bytearray()
    while len(length := file.read(1)) == 1:
        block = file.read(length[0])
        if len(raw) < most:
            data += block
            raw += length + block
        if length == b"\0":
            break
    return bytes(data), bytes(raw)
