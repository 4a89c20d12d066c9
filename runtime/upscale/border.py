"""Mirrors images outwards before they are upscaled, and cuts that off afterwards.

A network takes what lies outside of an image for black, and draws corners of flat areas wrong by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.images.rows import Pixels, Rows
from fxsr.styles.style_map import StyleRows

BORDER = 8
"""LR pixels that are added on each side. Flat areas are right up to the corner from 8 on."""

_PART = 64
"""Rows that are copied at once."""


@dataclass(frozen=True)
class Border:
    """How far an image is mirrored outwards, in LR pixels."""

    down: int
    """Rows above, and below."""
    across: int
    """Columns on the left, and on the right."""

    def around(self, image: Rows) -> Rows:
        """The larger image; its rows are read as they are needed."""
        if not (self.down or self.across):
            return image
        height, width = image.height + 2 * self.down, image.width + 2 * self.across
        columns = mirrored(slice(-self.across, image.width + self.across), image.width)
        bands = (band[:, columns] for band in _extended(image, self.down))
        return replace(image, height=height, width=width, bands=bands)

    def around_style(self, style: StyleRows, height: int, width: int) -> StyleRows | BorderedStyle:
        """The style of the larger image; `height` and `width` are those of the image itself."""
        return BorderedStyle(style, height, width, self) if self.down or self.across else style

    def cut_off(self, bands: Iterator[Pixels], height: int, scale: int) -> Iterator[Pixels]:
        """The upscaled image itself, of the bands of the larger one.

        Args:
            bands: of the larger image, upscaled.
            height: of the image itself, in LR pixels.
            scale: upscaling factor.
        """
        first, last = self.down * scale, (self.down + height) * scale
        left = self.across * scale
        top = 0
        for band in bands:
            part = band[max(first - top, 0) : max(last - top, 0), left : band.shape[1] - left]
            top += len(band)
            if len(part):
                yield part


class BorderedStyle:
    """The style of an image that is mirrored outwards. See `StyleRows`."""

    def __init__(self, style: StyleRows, height: int, width: int, border: Border) -> None:
        self._style = style
        self._height = height
        self._border = border
        self._columns = mirrored(slice(-border.across, width + border.across), width)

    def rows(self, rows: slice) -> NDArray[np.float32]:
        """(h, W); (1, 1) where the style is uniform."""
        wanted = mirrored(slice(rows.start - self._border.down, rows.stop - self._border.down), self._height)
        first = int(wanted.min())
        style = self._style.rows(slice(first, int(wanted.max()) + 1))
        return style if style.shape == (1, 1) else style[wanted - first][:, self._columns]


def mirrored(places: slice, length: int) -> NDArray[np.intp]:
    """The places on an axis of this length that these places show, also outside of it, where the axis is mirrored at
    its ends, which repeat."""
    at = np.arange(places.start, places.stop) % (2 * length)
    shown: NDArray[np.intp] = np.minimum(at, 2 * length - 1 - at)
    return shown


def _extended(image: Rows, down: int) -> Iterator[Pixels]:
    """The bands of an image, with its first and last rows mirrored outwards."""
    held: list[Pixels] = []
    """All rows until those are there that the upper border shows, and then the rows that the lower one may show."""
    done = taken = 0
    for part in (band[top : top + _PART] for band in image.bands for top in range(0, len(band), _PART)):
        held.append(part)
        taken += len(part)
        if taken < min(down, image.height):
            continue
        rows = np.concatenate(held)
        if not done:
            yield rows[mirrored(slice(-down, 0), image.height)]
        yield rows[len(rows) - (taken - done) :]
        held, done = [rows[max(len(rows) - down, 0) :]], taken
    if taken < image.height:
        raise ImageError(f"the image ends at row {taken} of {image.height}")
    below = mirrored(slice(image.height, image.height + down), image.height)
    yield held[0][below - (image.height - len(held[0]))]
