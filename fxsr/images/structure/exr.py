"""The structure of OpenEXR files: "OpenEXR File Layout". The OpenEXR library prints on standard output and standard
error what is wrong with a file, and may pass over a part of it, so files are checked here first."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import ImageError
from fxsr.images.structure.base import damaged, file_size, read_exactly

_TILED, _DEEP, _MULTI_PART = 0x200, 0x800, 0x1000
_LINES = {3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256, 10: 256, 11: 32}
"""Lines that each kind of compression takes together, where it is more than one."""
_DEFLATE = (2, 3)
"""ZIPS and ZIP."""
_BYTES = {0: 4, 1: 2, 2: 4}
"""Size of a value of each type: unsigned integer, half, float."""
_MOST = 1 << 26
"""Largest header entry and largest number of blocks that are read."""

Window = tuple[int, int, int, int]
"""Left, top, right and bottom; the last two belong to it."""


@dataclass(frozen=True)
class Channel:
    """A channel of a part."""

    name: str
    kind: int
    """0 unsigned integer, 1 half, 2 float."""
    sampling: tuple[int, int]
    """Distance of its samples across and down, in pixels."""


@dataclass(frozen=True)
class Part:
    """A part of a file: what its header says."""

    attributes: Mapping[str, bytes]
    tiled: bool

    @property
    def data(self) -> Window:
        """The pixels that are stored."""
        return self._window("dataWindow")

    @property
    def display(self) -> Window:
        """The pixels of the picture."""
        return self._window("displayWindow")

    @property
    def compression(self) -> int:
        return self.attributes["compression"][0]

    @property
    def aspect(self) -> float:
        """Width of a pixel divided by its height."""
        return float(struct.unpack("<f", self.attributes.get("pixelAspectRatio", b"\0\0\x80?"))[0])

    @property
    def chromaticities(self) -> tuple[float, ...] | None:
        """x and y of red, green, blue and white."""
        stored = self.attributes.get("chromaticities")
        return struct.unpack("<8f", stored) if stored and len(stored) == 32 else None

    @property
    def channels(self) -> tuple[Channel, ...]:
        found, stored = [], self.attributes["channels"]
        while stored.strip(b"\0"):
            name, _, rest = stored.partition(b"\0")
            kind, _, across, down = struct.unpack_from("<iB3xii", rest)
            found.append(Channel(name.decode("utf-8", "replace"), kind, (across, down)))
            stored = rest[16:]
        return tuple(found)

    @property
    def tiles(self) -> tuple[int, int, int]:
        """Width and height of tiles, and the mode of their levels."""
        across, down, mode = struct.unpack("<IIB", self.attributes["tiles"])
        return across, down, mode

    @property
    def lines(self) -> int:
        """Lines that are compressed together."""
        return _LINES.get(self.compression, 1)

    def _window(self, name: str) -> Window:
        left, top, right, bottom = struct.unpack("<4i", self.attributes[name])
        return left, top, right, bottom


def examine_exr(path: Path) -> tuple[Part, ...]:
    """The parts of an EXR file, all of which are whole.

    Raises:
        ImageError: it is cut or damaged, as far as that can be seen without decoding, or holds deep data.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        size = file_size(file)
        try:
            (version,) = struct.unpack_from("<I", read_exactly(file, 8), 4)
            parts = tuple(_parts(file, version))
            if version & _DEEP or any(part.attributes.get("type", b"").startswith(b"deep") for part in parts):
                raise ImageError(f"{path}: is a deep EXR, with several samples in a pixel; flatten it first")
            for part, offsets in [(part, _offsets(file, part)) for part in parts]:
                if why := _fault(file, part, offsets, size, 4 if version & _MULTI_PART else 0):
                    raise damaged(path, why)
        except (EOFError, struct.error, LookupError, ValueError, ArithmeticError):
            raise damaged(path, "it ends too early, or its header is damaged") from None
    return parts


def _parts(file: BinaryIO, version: int) -> Iterator[Part]:
    while attributes := dict(iter(lambda: _attribute(file), None)):
        stored = attributes.get("type")
        tiled = stored.startswith(b"tiled") if stored else bool(version & _TILED)
        part = Part(attributes, tiled)
        if not (part.channels and _is_window(part.data) and _is_window(part.display)):
            raise ValueError
        yield part
        if not version & _MULTI_PART:
            return


def _is_window(window: Window) -> bool:
    left, top, right, bottom = window
    return left <= right and top <= bottom


def _attribute(file: BinaryIO) -> tuple[str, bytes] | None:
    """Name and value of the next header entry; None at the end of the header."""
    name = _word(file)
    if not name:
        return None
    kind = _word(file)
    (length,) = struct.unpack("<i", read_exactly(file, 4))
    if not kind or not 0 <= length <= _MOST:
        raise ValueError
    return name.decode("latin-1"), read_exactly(file, length)


def _word(file: BinaryIO) -> bytes:
    word = bytearray()
    while (byte := read_exactly(file, 1)) != b"\0":
        word += byte
        if len(word) > 255:
            raise ValueError
    return bytes(word)


def _offsets(file: BinaryIO, part: Part) -> tuple[int, ...]:
    """Where the blocks of a part begin."""
    stored = part.attributes.get("chunkCount")
    count = struct.unpack("<i", stored)[0] if stored else _count(part)
    if not 0 < count <= _MOST:
        raise ValueError
    return struct.unpack(f"<{count}Q", read_exactly(file, 8 * count))


def _count(part: Part) -> int:
    left, top, right, bottom = part.data
    width, height = right - left + 1, bottom - top + 1
    if not part.tiled:
        return -(-height // part.lines)
    across, down, mode = part.tiles
    up = mode >> 4
    columns, rows = (
        [-(-side // tile) for side in _levels(whole, up)] for whole, tile in ((width, across), (height, down))
    )
    match mode & 15:
        case 0:
            return columns[0] * rows[0]
        case 1:
            levels = max(len(columns), len(rows))
            return sum(_at(columns, level) * _at(rows, level) for level in range(levels))
        case _:
            return sum(columns) * sum(rows)


def _levels(side: int, up: int) -> list[int]:
    """The sides of all levels, each half of the one before, rounded down or up."""
    sides = [side]
    while sides[-1] > 1:
        sides.append((sides[-1] + up) // 2)
    return sides


def _at(values: list[int], index: int) -> int:
    return values[min(index, len(values) - 1)]


def _fault(file: BinaryIO, part: Part, offsets: tuple[int, ...], size: int, extra: int) -> str | None:
    """What is wrong with the blocks of a part. `extra` bytes, the part's number, lie before each."""
    if missing := sum(not 0 < offset < size for offset in offsets):
        return f"it ends too early: {missing} of its {len(offsets)} blocks are missing"
    leader = struct.Struct("<4ii" if part.tiled else "<ii")
    for offset in offsets if part.compression in _DEFLATE else (max(offsets),):
        file.seek(offset + extra)
        *place, length = leader.unpack(read_exactly(file, leader.size))
        if length < 0 or file.tell() + length > size:
            return "it ends too early: a block is cut"
        if part.compression in _DEFLATE and not _is_block(file.read(length), _raw(part, place)):
            return "the compressed data of a block are damaged"
    return None


def _is_block(data: bytes, raw: int) -> bool:
    """Whether data are a block of `raw` bytes; where compression does not pay, it is stored as it is."""
    try:
        return len(data) == raw or len(zlib.decompress(data)) == raw
    except zlib.error:
        return False


def _raw(part: Part, place: list[int]) -> int:
    """The size of a block without compression; `place` is what stands before it."""
    left, top, right, bottom = part.data
    if part.tiled:
        across, down, mode = part.tiles
        column, row, level, level_down = place
        wide = min(across, _at(_levels(right - left + 1, mode >> 4), level) - column * across)
        high = min(down, _at(_levels(bottom - top + 1, mode >> 4), level_down) - row * down)
        return wide * high * sum(_BYTES[channel.kind] for channel in part.channels)
    lines = range(place[0], min(place[0] + part.lines, bottom + 1))
    return sum(
        _BYTES[channel.kind] * len(range(-(-left // x) * x, right + 1, x)) * sum(line % y == 0 for line in lines)
        for channel in part.channels
        for x, y in [channel.sampling]
    )
