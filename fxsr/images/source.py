"""Hands files to libvips by reading them.

Given a name, libvips maps many files into memory. A mapped file that becomes shorter, because another program writes it
again or a network drive goes away, then ends the whole process with SIGBUS; a file that is read just ends too early.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyvips


def open_source(path: Path, patches: Mapping[int, bytes] | None = None) -> pyvips.Source:
    """A file as a source that libvips reads from. The file is open as long as the source is in use.

    Names may hold any bytes; libvips itself takes only UTF-8, and brackets at their end for options.

    Args:
        patches: bytes that libvips reads instead of the file's, by their offset.

    Raises:
        OSError: it can't be opened.
    """
    import pyvips

    file = _File(path, patches or {})
    source = pyvips.SourceCustom()
    source.on_read(file.read)
    source.on_seek(file.seek)
    return source


class _File:
    """An open file, closed when libvips has let go of it. Its errors can't pass libvips as exceptions: where reading
    fails, the file ends, and libvips finds the image cut."""

    def __init__(self, path: Path, patches: Mapping[int, bytes]) -> None:
        self._patches = patches
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def read(self, size: int) -> bytes:
        try:
            begin = os.lseek(self._number, 0, os.SEEK_CUR) if self._patches else 0
            data = os.read(self._number, size)
        except OSError:
            return b""
        for at, patch in self._patches.items():
            first, last = max(at, begin), min(at + len(patch), begin + len(data))
            if first < last:
                data = data[: first - begin] + patch[first - at : last - at] + data[last - begin :]
        return data

    def seek(self, offset: int, whence: int) -> int:
        try:
            return os.lseek(self._number, offset, whence)
        except OSError:
            return -1

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)
