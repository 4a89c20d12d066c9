"""What a user painted on the page: received from the browser, and turned into a style map."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Painting:
    """The painted style, and how much of it replaces the dial's."""

    style: NDArray[np.uint8]
    """(H, W); 255 is t = 1."""
    cover: NDArray[np.uint8]
    """(H, W); 0 where nothing was painted, 255 where the dial has no effect."""

    @staticmethod
    def of_map(plane: NDArray[np.float32], width: int, height: int) -> Painting:
        """A painting of this size that covers everything, from an (H, W) map in 0..1."""
        style = np.rint(resize_plane(plane, height, width) * 255).clip(0, 255).astype(np.uint8)
        return Painting(style, np.full_like(style, 255))

    @staticmethod
    def from_browser(value: Mapping[str, Any] | None) -> Painting | None:
        """The painting that the page's painter sent; None if nothing is painted.

        Raises:
            StyleError: it is not a painting.
        """
        if not value or not value.get("planes"):
            return None
        try:
            width, height = int(value["width"]), int(value["height"])
            if not (0 < width <= SIDE and 0 < height <= SIDE):
                raise ValueError
            unpacked = zlib.decompressobj().decompress(base64.b64decode(value["planes"]), 2 * width * height)
            style, cover = np.frombuffer(unpacked, np.uint8).reshape(2, height, width)
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise StyleError("the page sent something that is not a painting; reload the page") from error
        return Painting(style, cover)

    def for_browser(self) -> dict[str, Any]:
        """The painting as the page's painter takes it."""
        height, width = self.style.shape
        planes = base64.b64encode(zlib.compress(self.style.tobytes() + self.cover.tobytes())).decode()
        return {"width": width, "height": height, "planes": planes}

    def over(self, t: float) -> StyleMap:
        """The style map: the painting over the dial's t."""
        cover = self.cover.astype(np.float32) / 255
        return StyleMap.from_array((self.style.astype(np.float32) / 255 * cover + t * (1 - cover)).clip(0, 1))
