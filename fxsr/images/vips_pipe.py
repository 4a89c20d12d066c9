"""Streams rows of pixels into libvips.

libvips streams only files that it decodes from top to bottom. So the rows are sent through a pipe as an uncompressed
PNG: pixels arrive unchanged, and neither side holds more than a few rows.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from fxsr.images.rows import Rows

if TYPE_CHECKING:
    import pyvips

_SMALL = 1 << 22
"""Images up to this size, in bytes, are handed over whole, which is faster than a pipe."""
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour types, by the number of channels."""


def through_vips(rows: Rows, use: Callable[[pyvips.Image], None]) -> None:
    """Call a function with a libvips image, while its rows are still being computed.

    Args:
        rows: of uint8, uint16 or float32; taken in the calling thread.
        use: reads the image from top to bottom; called in another thread unless the image is small.

    Raises:
        pyvips.Error: `use` failed.
        Any error that the rows raise; `use` then sees a truncated image, or is not called.
    """
    import pyvips

    if rows.height * rows.width * rows.channels * rows.dtype.itemsize <= _SMALL:
        use(pyvips.Image.new_from_array(rows.whole()))
        return
    reading, writing = os.pipe()
    failed = Event()

    def work() -> None:
        try:
            use(_open(reading, rows))
        except BaseException:
            failed.set()
            raise
        finally:
            while os.read(reading, 1 << 20):  # otherwise the writer would wait for ever
                pass

    try:
        with ThreadPoolExecutor(1, "encoder") as pool:
            with os.fdopen(writing, "wb") as pipe:
                done = pool.submit(work)
                for part in _png(rows):
                    if failed.is_set():
                        break
                    pipe.write(part)
            done.result()
    finally:
        os.close(reading)


def _open(descriptor: int, rows: Rows) -> pyvips.Image:
    import pyvips

    source = pyvips.Source.new_from_descriptor(descriptor)
    image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="truncated", unlimited=True)
    if rows.dtype.kind != "f":
        return image
    return image.copy(format="float", bands=1).bandfold(factor=rows.channels)


def _png(rows: Rows) -> Iterator[bytes]:
    """The parts of an uncompressed PNG file. PNG has no floats: each of their four bytes becomes a channel of RGBA."""
    floats = rows.dtype.kind == "f"
    width = rows.width * (rows.channels if floats else 1)
    colour = _COLOUR_TYPE[4 if floats else rows.channels]
    bits = 8 if floats else 8 * rows.dtype.itemsize
    yield b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, rows.height, bits, colour, 0, 0, 0))
    packer = zlib.compressobj(0)
    for band in rows.bands:
        stored = np.ascontiguousarray(band, np.float32 if floats else rows.dtype.newbyteorder(">"))
        lines = np.zeros((len(band), 1 + stored[0].nbytes), np.uint8)  # each line begins with its filter: none
        lines[:, 1:] = stored.view(np.uint8).reshape(len(band), -1)
        yield _chunk(b"IDAT", packer.compress(lines.data))
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
