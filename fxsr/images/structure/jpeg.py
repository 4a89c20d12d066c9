"""The structure of JPEG files: ITU-T T.81, annex B; for several pictures in one file, CIPA DC-007."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import ImageError
from fxsr.images.source import Part, Span, size_of
from fxsr.images.structure.base import Scan, Structure, damaged, read_exactly

_CHUNK = 1 << 20
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker that ends the data of a scan; restart markers don't."""
_SOI, _EOI, _SOS, _APP0, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE2, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_HIGHEST = 65500
"""The largest height that libjpeg decodes."""
_MP_COUNT = 0xB001
"""The tag of the number of pictures, CIPA DC-007, 5.2.3.2."""


@dataclass
class _Walk:
    """What was found so far."""

    parts: list[Part] = field(default_factory=list)
    frame: int = 0
    """The marker of the frame; 0 before it."""
    frame_at: int = 0
    """Which part is its header."""
    height: int = 0
    blocks: int = 0
    """Height of its rows of blocks, in blocks."""
    finest: dict[int, list[int]] = field(default_factory=dict)
    """For each component, the lowest bit that each of its 64 coefficients was sent to; -1: not sent."""
    scans: list[Span] = field(default_factory=list)
    """Where the data of each scan lies in the parts."""
    ended: bool = False
    pictures: int = 1
    skipped: int = 0
    """Bytes between segments that belong to none."""

    @property
    def size(self) -> int:
        return size_of(self.parts)


def examine_jpeg(path: Path) -> Structure:
    """Walk over a JPEG file from marker to marker.

    The decoder sees a file whose end marker is there, and without what it would warn of although no pixel is at stake:
    bytes between segments, and numbers of later JFIF versions. So all its warnings mean damage.

    Raises:
        ImageError: it ends before its pixels do, has scans missing, or is lossless.
    """
    with path.open("rb") as file:
        return examine_stream(path, file)


def examine_stream(path: Path, file: BinaryIO) -> Structure:
    """`examine_jpeg` for an open file; messages call it `path`."""
    walk = _Walk()
    with suppress(EOFError):
        _segments(file, walk)
    if walk.frame in _LOSSLESS:
        raise ImageError(f"{path}: is a lossless JPEG, as in medical and camera raw files; convert it to PNG first")
    if not walk.scans:
        raise damaged(path, "it ends before its pixels begin")
    if walk.frame == 0 or not _complete(walk):
        raise damaged(path, "scans are missing: it was cut")
    notes = []
    if not walk.ended:
        notes.append("has no end marker; all its pixels are there")
        walk.parts.append(b"\xff\xd9")
    if walk.skipped:
        notes.append(f"has {walk.skipped} bytes between its segments that mean nothing; they are left out")
    if walk.pictures != 1:
        count = walk.pictures or "further"
        notes.append(f"has {count} pictures (MPO: a preview, a gain map, depth ...); only the first is upscaled")
    if len(walk.scans) > 1:
        return Structure(tuple(notes), tuple(walk.parts))
    below = _promise_row(walk)
    return Structure(tuple(notes), tuple(walk.parts), Scan(walk.scans[0], walk.height, below))


def _promise_row(walk: _Walk) -> int | None:
    """Let the header promise a further row of blocks, and return its first line.

    libvips tells what libjpeg warned of when the next rows are read, and so never for the last ones. Where blocks span
    two rows, those above depend on the rows below, and are decoded earlier anyway.
    """
    below = (walk.height + 7) // 8 * 8
    if walk.blocks != 1 or below >= _HIGHEST:
        return None
    header = walk.parts[walk.frame_at]
    assert isinstance(header, bytes)
    walk.parts[walk.frame_at] = header[:5] + struct.pack(">H", below + 1) + header[7:]
    return below


def _segments(file: BinaryIO, walk: _Walk) -> None:
    """Walk to the end marker, or to the end of the file.

    Raises:
        EOFError: the file ends first.
    """
    read_exactly(file, 2)
    walk.parts.append(b"\xff\xd8")
    while True:
        marker = _next_marker(file, walk)
        if marker == _EOI:
            walk.parts.append(b"\xff\xd9")
            walk.ended = True
            return
        if marker == 0x01 or 0xD0 <= marker <= _SOI:  # stand alone, and mean nothing here
            continue
        start = file.tell()
        head = read_exactly(file, 2)
        length = max(2, struct.unpack(">H", head)[0])
        body = read_exactly(file, length - 2)
        _segment(walk, marker, body, start)
        if marker == _SOS:
            _scan(file, walk, start + length)


def _next_marker(file: BinaryIO, walk: _Walk) -> int:
    """The next marker; bytes before it are counted."""
    while True:
        byte = read_exactly(file, 1)
        if byte != b"\xff":
            walk.skipped += 1
            continue
        while byte == b"\xff":
            byte = read_exactly(file, 1)
        if byte != b"\0":
            return byte[0]
        walk.skipped += 2


def _segment(walk: _Walk, marker: int, body: bytes, start: int) -> None:
    """Note what a segment says, and add it to the parts. `start` is where its length stands."""
    if marker in _FRAMES and not walk.frame and len(body) > 7:
        walk.frame, walk.frame_at = marker, len(walk.parts)
        walk.height = int.from_bytes(body[1:3], "big")
        walk.blocks = max(factors & 15 for factors in body[7::3])
        walk.finest = {number: [-1] * 64 for number in body[6::3][: body[5] if len(body) > 5 else 0]}
    elif marker == _APP2 and body.startswith(b"MPF\0"):
        walk.pictures = _pictures(body[4:])
    elif marker == _APP0 and body.startswith(b"JFIF\0") and body[5:6] != b"\1":
        body = body[:5] + b"\1" + body[6:]
    elif marker == _APP14 and body.startswith(b"Adobe") and len(body) > 11 and body[11] > 2:
        body = body[:11] + (b"\1" if len(walk.finest) == 3 else b"\2") + body[12:]
    elif marker == _SOS:
        body = _sent(walk, body)
    walk.parts.append(b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body)


def _sent(walk: _Walk, body: bytes) -> bytes:
    """Note which coefficients a scan sends; the header of the scan as it should be."""
    count = body[0] if body else 0
    numbers, rest = body[1 : 1 + 2 * count : 2], body[1 + 2 * count :]
    if walk.frame not in _PROGRESSIVE:
        rest = b"\0\x3f\0"  # some cameras write other numbers here, which decoders ignore with a warning
    if len(rest) == 3:
        first, last, bits = rest
        for number in numbers:
            for index in range(first, min(last, 63) + 1):
                walk.finest.setdefault(number, [-1] * 64)[index] = bits & 15
    return body[: 1 + 2 * count] + rest


def _scan(file: BinaryIO, walk: _Walk, start: int) -> None:
    """Walk over the data of a scan, and stop in front of the marker that ends it."""
    at, last = start, b""
    stop = None
    while chunk := file.read(_CHUNK):
        if found := _MARKER.search(last + chunk):
            stop = at - len(last) + found.start()
            break
        at += len(chunk)
        last = chunk[-1:] if chunk.endswith(b"\xff") else b""
    stop = at if stop is None else stop
    begin = walk.size
    walk.parts.append(Span(start, stop))
    walk.scans.append(Span(begin, begin + stop - start))
    file.seek(stop)


def _complete(walk: _Walk) -> bool:
    """Whether every coefficient of every component was sent, down to its last bit."""
    return all(not any(bits) for bits in walk.finest.values())


def _pictures(index: bytes) -> int:
    """The number of pictures by the index of a multi-picture file; 0 if it can't be read."""
    order = "<" if index[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", index, 4)
        (count,) = struct.unpack_from(f"{order}H", index, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHII", index, at)
            if tag == _MP_COUNT:
                return int(value)
    except struct.error:
        pass
    return 0
