"""The structure of HEIC and AVIF files: ISO/IEC 14496-12 (boxes) and 23008-12 (items)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fxsr.images.structure.base import LONGEST, Structure, damaged, file_size

_MOST = 1 << 24
"""Largest box whose contents are looked at."""
_VALUE = 200
"""Bytes of a property that are read."""


def examine_boxes(path: Path) -> Structure:
    """Walk over a file of boxes.

    Raises:
        ImageError: it ends before its last box does.
    """
    names, notes, roles = set(), [], set()
    with path.open("rb") as file:
        size = file_size(file)
        for name, start, stop in _boxes(file, 0, size):
            if stop > size:
                raise damaged(path, f"it ends too early: {stop - size} bytes are missing")
            names.add(name)
            if name == b"meta" and stop - start <= _MOST:
                for kind, value in _properties(file, start + 4, stop):
                    if kind == b"auxC":
                        roles.add(value.partition(b"\0")[0].decode("latin-1"))
                    elif kind == b"ispe" and len(value) >= 8:
                        width, height = struct.unpack_from(">2I", value)
                        if max(width, height) > LONGEST:
                            raise damaged(path, f"it states a size of {width}x{height}")
    if b"meta" not in names:
        raise damaged(path, "it ends before its pixels begin")
    if b"moov" in names:
        notes.append("has a sequence of frames; only the still picture is upscaled")
    if any("depth" in role for role in roles):
        notes.append("has a depth image; it is left out")
    if others := sorted(role for role in roles if "depth" not in role and "alpha" not in role):
        notes.append(f"has further images ({', '.join(role.rsplit(':', 1)[-1] for role in others)}); left out")
    return Structure(tuple(notes))


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the contents and end of each box; the last may end behind `end`."""
    while at + 8 <= end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        start = at + 8
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
            start += 8
        stop = end if size == 0 else at + size
        if stop < start:
            return
        yield name, start, stop
        at = stop


def _properties(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and value of the properties of items (23008-12, 6.5), which lie in ipco in iprp in meta."""
    for outer in (b"iprp", b"ipco"):
        inside = next(((at, end) for name, at, end in _boxes(file, start, stop) if name == outer and end <= stop), None)
        if inside is None:
            return
        start, stop = inside
    for name, at, end in _boxes(file, start, stop):
        file.seek(at + 4)  # after version and flags
        yield name, file.read(max(0, min(end - at - 4, _VALUE)))
