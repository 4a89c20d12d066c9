"""Hands files to libvips by reading them.

Given a name, libvips maps many files into memory. A mapped file that becomes shorter, because another program writes it
again or a network drive goes away, then ends the whole process with SIGBUS; a file that is read just ends too early.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyvips


@dataclass(frozen=True)
class Span:
    """Bytes of a file, from `start` up to `stop`."""

    start: int
    stop: int


Part = Span | bytes
"""A part of what a decoder is to see: bytes of the file, or bytes in place of missing or wrong ones."""


def patched(size: int, patches: Mapping[int, bytes]) -> tuple[Part, ...]:
    """A file of `size` bytes in which some are replaced, by their offset; the patches do not overlap."""
    parts: list[Part] = []
    start = 0
    for offset, patch in sorted(patches.items()):
        parts += [Span(start, offset), patch]
        start = offset + len(patch)
    return (*parts, Span(start, size))


class FileSource:
    """A file that libvips reads, whole or as parts. It is open as long as the source is in use.

    Names may hold any bytes; libvips itself takes only UTF-8, and brackets at their end for options.

    Args:
        path: the file; None if all parts are bytes.
        parts: what libvips sees instead of the whole file.
        watched: how many bytes at the end of it are handed over one by one, so that `left` is exact there.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, path: Path | None, parts: Sequence[Part] = (), watched: int = 0) -> None:
        import pyvips

        self._file = _File(path, parts, watched)
        self._source = pyvips.SourceCustom()
        self._source.on_read(self._file.read)
        self._source.on_seek(self._file.seek)

    def load(self, loader: str, fail_on: str) -> pyvips.Image:
        """The image, by one of libvips' loaders from sources, such as `pngload_source`, to be read from top to bottom.

        Args:
            fail_on: from which level on a message of the loader's library is an error.

        Raises:
            pyvips.Error: it is damaged, as far as its header tells.
        """
        import pyvips

        image = getattr(pyvips.Image, loader)(self._source, access="sequential", fail_on=fail_on)
        image._references.append(self)  # as pyvips does where it chooses the loader: libvips calls back into Python
        return image

    @property
    def left(self) -> int:
        """Number of bytes at the end that nobody has read yet; only if it was given as parts."""
        return self._file.left

    def peek(self, start: int, stop: int) -> bytes:
        """Bytes of the parts from `start` up to `stop`."""
        return self._file.peek(start, stop)


class _File:
    """An open file, closed when libvips has let go of it. Its errors can't pass libvips as exceptions: where reading
    fails, the file ends, and libvips finds the image cut."""

    def __init__(self, path: Path | None, parts: Sequence[Part] = (), watched: int = 0) -> None:
        if path is not None:
            self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._parts = tuple(parts)
        self._starts = list(accumulate(map(_size, parts), initial=0))
        self._slow = self._starts[-1] - watched
        self._at = self._reached = 0

    @property
    def left(self) -> int:
        return self._starts[-1] - self._reached

    def read(self, size: int) -> bytes:
        try:
            return self._read_parts(size) if self._parts else os.read(self._number, size)
        except OSError:
            return b""

    def seek(self, offset: int, whence: int) -> int:
        try:
            if not self._parts:
                return os.lseek(self._number, offset, whence)
        except OSError:
            return -1
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        if place < 0:
            return -1
        self._at = place
        return place

    def peek(self, start: int, stop: int) -> bytes:
        found = []
        while start < stop and (data := self._bytes(start, stop - start)):
            found.append(data)
            start += len(data)
        return b"".join(found)

    def _read_parts(self, size: int) -> bytes:
        if self._slow < self._starts[-1]:  # a watched end
            size = 1 if self._at >= self._slow else min(size, self._slow - self._at)
        data = self._bytes(self._at, size)
        self._at += len(data)
        self._reached = max(self._reached, self._at)
        return data

    def _bytes(self, at: int, size: int) -> bytes:
        """Up to `size` bytes of the part that holds the position `at`; none at the end."""
        if at >= self._starts[-1]:
            return b""
        index = bisect_right(self._starts, at) - 1
        part, skipped = self._parts[index], at - self._starts[index]
        size = min(size, self._starts[index + 1] - at)
        if isinstance(part, bytes):
            return part[skipped : skipped + size]
        os.lseek(self._number, part.start + skipped, os.SEEK_SET)
        return os.read(self._number, size)

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)


def size_of(parts: Sequence[Part]) -> int:
    """The number of bytes in parts."""
    return sum(map(_size, parts))


def _size(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part.stop - part.start
