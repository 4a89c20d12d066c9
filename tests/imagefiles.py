"""Small PNG and TIFF files with any chunks and tags, written byte by byte, and a HEIC file."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_KINDS = {"u": 1, "i": 2, "f": 3, "c": 6}
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
ByteOrder = Literal["<", ">"]
Tag = tuple[str, Sequence[float] | bytes]

HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAYFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAAAA"
    "AAABAAAANGlsb2MAAAAAREAAAgABAAAAAAGlAAEAAAAAAAAAFgACAAAAAAG7AAEAAAAAAAAAuAAAADhpaW5mAAAAAAACAAAAFWluZmUCAAAAAAEA"
    "AGh2YzEAAAAAFWluZmUCAAABAAIAAEV4aWYAAAAAwGlwcnAAAACiaXBjbwAAAHZodmNDAQQIAAAAAAAAAAAAHvAA/P36+gAADwMgAAEAF0ABDAH/"
    "/wQIAAADAJ24AAADAAAeugJAIQABACpCAQEECAAAAwCduAAAAwAAHqAggQTZbqSSmubgQEDAgAAAAwCAAAADAIQiAAEAB0QBwXKwIkAAAAAUaXNw"
    "ZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMKCgoAAAAWaXBtYQAAAAAAAAABAAEDgQKDAAAAGmlyZWYAAAAAAAAADmNkc2MAAgABAAEAAADWbWRh"
    "dAAAABIoAa8GuGPimxT/tZWJHxEWg/gAAAAASUkqAAgAAAAGABIBAwABAAAAAQAAABoBBQABAAAAVgAAABsBBQABAAAAXgAAACgBAwABAAAAAgAA"
    "ABMCAwABAAAAAQAAAGmHBAABAAAAZgAAAAAAAAA4YwAA6AMAADhjAADoAwAABgAAkAcABAAAADAyMTABkQcABAAAAAECAwAAoAcABAAAADAxMDAB"
    "oAMAAQAAAP//AAACoAQAAQAAAEAAAAADoAQAAQAAAEAAAAAAAAAA"
)
"""A white square of 64 pixels a side with 10 bits a channel, by x265."""


def write_png(path: Path, pixels: NDArray[Any], *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG of an (H, W, C) array of uint8 or uint16, with chunks before its pixels."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    lines = b"".join(b"\0" + line.astype(f">u{bits // 8}").tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPE[channels], 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts))
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_tiff(
    path: Path, pixels: NDArray[Any], photometric: int, tags: Mapping[int, Tag] | None = None, order: ByteOrder = "<"
) -> Path:
    """An uncompressed TIFF of an (H, W, C) array of any type.

    Args:
        tags: more tags: for each number, a type of `struct` and values; or "s" and bytes.
        order: `<` or `>`.
    """
    height, width, samples = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    entries: dict[int, Tag] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [8 * pixels.dtype.itemsize] * samples),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", [8]),
        277: ("H", [samples]),
        278: ("I", [height]),
        279: ("I", [len(data)]),
        339: ("H", [_KINDS[pixels.dtype.kind]] * samples),
        **(tags or {}),
    }
    types = {"B": 1, "s": 2, "H": 3, "I": 4, "r": 5, "h": 8, "f": 11, "d": 12}
    data += bytes(len(data) % 2)
    start = 8 + len(data)
    table, extra = b"", b""
    extra_start = start + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        if isinstance(values, bytes):
            packed, count = values, len(values)
        elif kind == "r":
            packed, count = struct.pack(f"{order}{2 * len(values)}I", *_fractions(values)), len(values)
        else:
            packed, count = struct.pack(f"{order}{len(values)}{kind}", *values), len(values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", extra_start + len(extra))
            extra += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", tag, types[kind], count) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    path.write_bytes(head + data + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + extra)
    return path


def _fractions(values: Sequence[float]) -> list[int]:
    return [part for value in values for part in (round(value * 10000), 10000)]


def flat(*values: float, dtype: Any = np.uint8, size: int = 8) -> NDArray[Any]:
    """A (size, size, C) array of one colour."""
    return np.full((size, size, len(values)), values, dtype)
