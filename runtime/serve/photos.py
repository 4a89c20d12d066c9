"""Photos that clients have opened: their files, and the pixels of those that were used last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePath
from threading import Lock
from typing import Any

import numpy as np

from fxsr.images.image import Picture, read_image
from fxsr.images.reading import open_rows
from fxsr.images.rows import Pixels, check_pixels
from fxsr.runtime.serve.images import ClientFile


@dataclass(frozen=True)
class OpenPhoto:
    """A photo that a client has opened. Its pixels are in a `PhotoStore`."""

    file: ClientFile
    name: str
    """Its file name without the suffix."""
    suffix: str
    """The suffix of its format, such as `.jpg`."""
    size: tuple[int, int]
    """Width and height."""
    channels: int
    """1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    dtype: np.dtype[Any]
    """Type of its pixels."""
    notes: tuple[str, ...] = ()
    """What could not be kept on reading, one line each."""

    @property
    def has_alpha(self) -> bool:
        return self.channels in (2, 4)


class PhotoStore:
    """Decoded photos of all clients together, within a limit. Those that were not used for the longest time are
    dropped, and decoded again when they are needed. Safe to share between threads.

    Args:
        max_pixels: largest number of pixels of a photo.
        most: largest size of all pixels, in bytes; the last photo is kept even if it is larger.
    """

    def __init__(self, max_pixels: int, most: int) -> None:
        self._max_pixels = max_pixels
        self._most = most
        self._lock = Lock()
        self._kept: OrderedDict[Path, Pixels] = OrderedDict()

    @property
    def kept(self) -> int:
        """Size of the pixels in memory, in bytes."""
        with self._lock:
            return self._size()

    def open(self, file: ClientFile) -> OpenPhoto:
        """Read a photo.

        Raises:
            ImageError: it is not an image, or too large.
        """
        suffix = file.suffix()
        picture = self._read(file)
        height, width, channels = picture.pixels.shape
        name = PurePath(file.name).stem
        return OpenPhoto(file, name, suffix, (width, height), channels, picture.pixels.dtype, picture.notes)

    def pixels(self, photo: OpenPhoto) -> Pixels:
        """(H, W, C), in sRGB.

        Raises:
            ImageError: its file is gone.
        """
        with self._lock:
            pixels = self._kept.get(photo.file.path)
            if pixels is not None:
                self._kept.move_to_end(photo.file.path)
                return pixels
        return self._read(photo.file).pixels

    def _read(self, sent: ClientFile) -> Picture:
        with sent.named():
            rows = open_rows(sent.path, self._max_pixels)
            check_pixels(sent.path, rows.width, rows.height, self._max_pixels)
            picture = read_image(sent.path, srgb=True)
        with self._lock:
            self._kept[sent.path] = picture.pixels
            self._kept.move_to_end(sent.path)
            while len(self._kept) > 1 and self._size() > self._most:
                self._kept.popitem(last=False)
        return picture

    def _size(self) -> int:
        return sum(pixels.nbytes for pixels in self._kept.values())
