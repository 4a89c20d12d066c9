"""Puts metadata into the files that an encoder writes without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from fxsr.images.metadata import jpeg, png, webp
from fxsr.images.metadata.bmp import state_resolution
from fxsr.images.metadata.tiff import add_to_tiff
from fxsr.images.metadata.values import Metadata, listed
from fxsr.images.png_chunks import SIGNATURE

_HEAD_BYTES = {".jpg": 2, ".jpeg": 2, ".webp": webp.HEAD_BYTES}
"""Bytes of a file that are looked at before the metadata is written; of PNG files, all before the first pixels."""


class MetadataWriter:
    """Passes a PNG, JPEG or WebP file on while it is written, and puts metadata where it belongs."""

    def __init__(self, file: BinaryIO, suffix: str, metadata: Metadata, width: int, height: int) -> None:
        """`width` and `height` are those of the image in the file."""
        self._file = file
        self._suffix = suffix
        self._metadata = metadata
        self._size = width, height
        self._head: bytearray | None = bytearray()
        """What can't be passed on yet; None once the metadata is written."""
        self._tail = b""
        self.notes: list[str] = []
        """What the format can't hold, one line each."""

    def write(self, data: memoryview) -> int:
        """Take the next bytes of the file, and return their number."""
        taken = 0
        if self._head is not None:
            taken = _HEAD_BYTES.get(self._suffix, len(data))
            self._head += data[:taken]
            self._begin(bytes(self._head))
        if self._head is None:
            self._file.write(data[taken:])
        return len(data)

    def finish(self) -> None:
        """Write what follows the file's last bytes."""
        if self._suffix == ".webp":
            if self._head is not None:  # the file has but a few bytes
                self._begin_webp(bytes(self._head))
            self._file.write(self._tail)
            length = self._file.tell()
            self._file.seek(4)
            self._file.write(webp.sized(length))

    def _begin(self, head: bytes) -> None:
        if self._suffix == ".png":
            self._begin_png(head)
        elif len(head) >= _HEAD_BYTES[self._suffix]:
            (self._begin_webp if self._suffix == ".webp" else self._begin_jpeg)(head)

    def _pass(self, *parts: bytes) -> None:
        self._head = None
        for part in parts:
            self._file.write(part)

    def _begin_jpeg(self, head: bytes) -> None:
        segments, self.notes = jpeg.header(self._metadata)
        self._pass(head, segments)

    def _begin_png(self, head: bytes) -> None:
        """Wait for the first pixels, and leave out the resolution, which libvips always states."""
        at, kept = len(SIGNATURE), [head[: len(SIGNATURE)]]
        while len(head) >= at + 8:
            kind, end = head[at + 4 : at + 8], at + 12 + int.from_bytes(head[at : at + 4], "big")
            if kind == b"IDAT":
                self.notes = png.lost(self._metadata)
                self._pass(*kept[:2], png.chunks(self._metadata), *kept[2:], head[at:])
                return
            if kind != b"pHYs":
                kept.append(head[at:end])
            at = end

    def _begin_webp(self, head: bytes) -> None:
        self.notes = webp.lost(self._metadata)
        begin, self._tail = webp.header(head, self._metadata, *self._size)
        self._pass(begin)


def add_metadata(path: Path, suffix: str, metadata: Metadata) -> list[str]:
    """Put metadata into a finished file of a format that `MetadataWriter` doesn't write.

    Returns:
        What it can't hold, one line each.
    """
    if suffix in (".tif", ".tiff"):
        return add_to_tiff(path, metadata)
    if suffix == ".bmp":
        state_resolution(path, metadata.resolution)
        metadata = replace(metadata, resolution=None)
    names = list(metadata.names())
    if not names:
        return []
    note = f"{suffix} holds no {listed(names).replace(' and ', ' or ')} here: left out"
    return [f"{note}, and colours are taken as sRGB" if metadata.icc else note]
