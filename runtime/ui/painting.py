"""What a user painted on the page: received from the browser, and turned into a style map.

Layers that were made from the photo arrive in the painting too: a layer that lets a share m of the dial's t through is
paint of t = 0 that covers 1 - m.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import StyleError
from fxsr.images.image import resize_plane
from fxsr.styles.style_map import StyleMap

SIDE = 1024
"""Longer side of a painting in pixels; it is resized to the photo."""


def painting_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the painting over a photo of this size."""
    factor = min(1.0, SIDE / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def plane_for_browser(plane: NDArray[np.float32], photo: tuple[int, int]) -> bytes:
    """An (H, W) map in 0..1 as the page takes it: the bytes of a plane of a painting, row by row.

    Args:
        photo: width and height of the photo below it.
    """
    width, height = painting_size(*photo)
    return np.rint(resize_plane(plane, height, width) * 255).clip(0, 255).astype(np.uint8).tobytes()


@dataclass(frozen=True)
class Painting:
    """The painted style, and how much of it replaces the dial's."""

    style: NDArray[np.uint8]
    """(H, W); 255 is t = 1."""
    cover: NDArray[np.uint8]
    """(H, W); 0 where nothing was painted, 255 where the dial has no effect."""

    @staticmethod
    def from_browser(body: bytes, photo: tuple[int, int]) -> Painting | None:
        """The painting that the page sent; None if nothing is painted.

        Args:
            body: empty, or both planes, style first, deflated (RFC 1950).
            photo: width and height of the photo below it.

        Raises:
            StyleError: it is not a painting of the size that `painting_size` gives.
        """
        if not body:
            return None
        width, height = painting_size(*photo)
        size = 2 * width * height
        try:
            unpacked = zlib.decompressobj().decompress(body, size)
        except zlib.error:
            unpacked = b""
        if len(unpacked) != size:
            raise StyleError("the page sent something that is not a painting; reload the page")
        style, cover = np.frombuffer(unpacked, np.uint8).reshape(2, height, width)
        return Painting(style, cover)

    def over(self, t: float) -> StyleMap:
        """The style map: the painting over the dial's t."""
        cover = self.cover.astype(np.float32) / 255
        return StyleMap.from_array((self.style.astype(np.float32) / 255 * cover + t * (1 - cover)).clip(0, 1))
