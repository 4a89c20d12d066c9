"""Hands JPEG files to libvips, and tells afterwards whether the decoder needed all of their pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import ImageError
from fxsr.images.source import FileSource, size_of
from fxsr.images.structure.base import Structure
from fxsr.images.structure.jpeg import examine_stream

if TYPE_CHECKING:
    import pyvips

_WATCHED = 64
"""Bytes of a scan that are handed over one by one. A decoder takes no more than eight ahead of what it needs."""


class JpegSource:
    """A JPEG that libvips decodes.

    Args:
        path: the file; None if `structure` holds it whole.
        structure: what `examine_jpeg` found in it.

    Raises:
        pyvips.Error: its header can't be read.
    """

    def __init__(self, path: Path | None, structure: Structure) -> None:
        self._scan = structure.scan
        self._size = size_of(structure.parts)
        watched = self._size - self._scan.span.stop + _WATCHED if self._scan else 0
        self._file = FileSource(path, structure.parts, watched)
        self._decoded = self._file.load("jpegload_source", "warning")

    @property
    def image(self) -> pyvips.Image:
        """The image. Reading it fails where pixels are missing or can't be decoded: what libjpeg warns of, once
        `examine_jpeg` has put the headers right, is damage."""
        return self._decoded.crop(0, 0, self._decoded.width, self._scan.height) if self._scan else self._decoded

    def fault(self) -> str | None:
        """What is wrong with the only scan, once all rows are taken. A decoder that did not need all of it has lost its
        way in damaged data. Zeros and fill bytes are padding."""
        import pyvips

        if self._scan is None:
            return None
        left = self._file.peek(self._size - self._file.left, self._scan.span.stop)
        if left.strip(b"\0\xff"):
            return "corrupt JPEG data: bytes are left over"
        try:
            if self._scan.below is not None:
                pyvips.Region.new(self._decoded).fetch(0, self._scan.below, self._decoded.width, 1)
        except pyvips.Error as error:
            return vips_reason(error)
        return None


def jpeg_fault(stream: bytes) -> str | None:
    """What is wrong with a JPEG in memory, which is decoded to find out."""
    import pyvips

    path = Path("it")
    try:
        structure = examine_stream(path, io.BytesIO(stream))
        parts = (part if isinstance(part, bytes) else stream[part.start : part.stop] for part in structure.parts)
        source = JpegSource(None, replace(structure, parts=tuple(parts)))
        source.image.avg()
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    except pyvips.Error as error:
        return vips_reason(error)
    return source.fault()


def vips_reason(error: pyvips.Error) -> str:
    """The last line of an error of libvips, without the name of its part."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("VipsJpeg: ")
