"""Enlarging an image as its rows come: tiles, blending, grey and alpha.

LR rows -> tiles of pixels and style -> session -> enlarged tiles -> bands of enlarged rows

Beside some rows of the image, one row of tiles is in memory; how high the image is does not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.images.image import LUMA
from fxsr.images.rows import Pixels, Rows, dtype_peak
from fxsr.runtime.session import Session
from fxsr.runtime.upscale.alpha import fill_transparent, neighbour_range
from fxsr.runtime.upscale.batches import Tile, TilePosition, upscale_tiles
from fxsr.runtime.upscale.canvas import Canvas
from fxsr.runtime.upscale.tiles import AxisPlan
from fxsr.styles.style_map import StyleRows

_FAITHFUL = np.zeros((1, 1, 1), np.float32)


class ImagePlane(IntEnum):
    """What of an image a tile is of. Each is enlarged on its own."""

    COLOUR = 0
    ALPHA = 1


def layers(channels: int) -> int:
    """How many layers an image of so many channels has."""
    return 2 if channels in (2, 4) else 1


@dataclass
class _TileRow:
    """A row of tiles that is under way."""

    awaited: int
    """Tiles that the session has still to give."""
    flat: dict[int, float]
    """Columns whose alpha is the same all over, 0..1: no work for the session."""
    alpha: tuple[Pixels, Pixels] | None
    """The range of alpha around each LR pixel that is finished with this row, (h, W) each."""


class ImageUpscaling:
    """One image on its way through a session."""

    def __init__(self, session: Session, image: Rows, style: StyleRows, rows: AxisPlan, columns: AxisPlan) -> None:
        self._session = session
        self._image = image
        self._style = style
        self._rows = rows
        self._columns = columns
        self._source = _Window(image)
        self._with_alpha = layers(image.channels) == 2
        self._colours = image.channels - self._with_alpha
        self._under_way: deque[_TileRow] = deque()

    def bands(self, note: Callable[[str], None], advance: Callable[[int], None]) -> Iterator[Pixels]:
        """The enlarged image, (h, scale*W, C) of the image's type, from top to bottom.

        Args:
            note: hears, in a line, if memory was short.
            advance: hears of tiles that are done, how many.
        """
        scale = self._session.info.scale
        canvases = [
            Canvas(self._rows, self._columns, scale, planes) for planes in (self._colours, 1)[: 1 + self._with_alpha]
        ]
        row = 0
        for tile, sr in upscale_tiles(self._session, self._tiles(), note):
            place = tile.place
            canvas = canvases[place.layer]
            canvas.add(
                place.row, place.column, sr if place.layer == ImagePlane.COLOUR and self._colours == 3 else _grey(sr)
            )
            advance(1)
            self._under_way[0].awaited -= 1
            if not self._under_way[0].awaited:
                tile_row = self._under_way.popleft()
                for column, value in tile_row.flat.items():
                    canvases[ImagePlane.ALPHA].add(row, column, value)
                advance(len(tile_row.flat))
                yield from self._finished(canvases, row, tile_row)
                row += 1

    def _finished(self, canvases: list[Canvas], row: int, tile_row: _TileRow) -> Iterator[Pixels]:
        scale, dtype = self._session.info.scale, self._image.dtype
        begin = 0
        for strips in zip(*(canvas.finish(row) for canvas in canvases), strict=True):
            pixels = _to_pixels(np.concatenate(strips) if len(strips) > 1 else strips[0], dtype)
            if tile_row.alpha:  # what was flat stays exactly flat, and edges can't overshoot
                end = begin + len(pixels) // scale
                low, high = (_repeat(limit[begin:end], scale) for limit in tile_row.alpha)
                np.clip(pixels[..., -1], low, high, out=pixels[..., -1])
                begin = end
            yield pixels

    def _tiles(self) -> Iterator[Tile]:
        """All tiles in order. The session may take some of the next row before it has given all of this one's."""
        for row in range(len(self._rows.starts)):
            window = self._rows.window(row)
            pixels = self._source.take(window.start, max(window.stop, self._rows.final_until(row) + 1))
            taken = pixels[self._source.lead :][: self._rows.size]
            style = self._style.rows(window)
            colour: Pixels = taken[..., : self._colours]
            alpha_tiles: list[Tile] = []
            flat: dict[int, float] = {}
            limits = None
            if self._with_alpha:
                colour = fill_transparent(colour, taken[..., -1])
                limits = self._limits(pixels[..., -1], row)
                for column in range(len(self._columns.starts)):
                    part = taken[:, self._columns.window(column), -1:]
                    if (part == part[0, 0]).all():
                        flat[column] = float(part[0, 0, 0]) / dtype_peak(part.dtype)
                    else:  # a mask is no texture: it is enlarged faithfully whatever the picture's style
                        alpha_tiles.append(Tile(TilePosition(ImagePlane.ALPHA, row, column), _to_lr(part), _FAITHFUL))
            self._under_way.append(_TileRow(len(self._columns.starts) + len(alpha_tiles), flat, limits))
            for column in range(len(self._columns.starts)):
                across = self._columns.window(column)
                t_map = style if style.shape == (1, 1) else style[:, across]
                if (t_map == t_map[0, 0]).all():  # one style costs less than a map of it
                    t_map = t_map[:1, :1]
                yield Tile(TilePosition(ImagePlane.COLOUR, row, column), _to_lr(colour[:, across]), t_map[None])
            yield from alpha_tiles

    def _limits(self, alpha: Pixels, row: int) -> tuple[Pixels, Pixels]:
        """Of the rows that are finished with this row of tiles; `alpha` has one more at either end where there is."""
        lead = self._source.lead
        height = self._rows.final_until(row) - self._rows.starts[row]
        low, high = neighbour_range(alpha[: lead + height + 1])
        return low[lead : lead + height], high[lead : lead + height]


class _Window:
    """The rows that a row of tiles needs, of an image that comes from top to bottom."""

    def __init__(self, image: Rows) -> None:
        self._image = image
        self._held: Pixels = np.empty((0, image.width, image.channels), image.dtype)
        self._top = 0
        self.lead = 0
        """How many rows before the ones asked for were given last: 1, or 0 at the top of the image."""

    def take(self, start: int, stop: int) -> Pixels:
        """Rows `start` to `stop`, as far as there are, and the one before. What lies above is forgotten.

        Raises:
            ImageError: the image ends before it should.
        """
        self.lead = min(start, 1)
        stop = min(stop, self._image.height)
        parts = [self._held[start - self.lead - self._top :]]
        self._top = start - self.lead
        end = self._top + len(parts[0])
        while end < stop:
            band = next(self._image.bands, None)
            if band is None:
                raise ImageError(f"the image ends at row {end} of {self._image.height}")
            parts.append(band)
            end += len(band)
        parts = [part for part in parts if len(part)]
        self._held = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return self._held[: stop - self._top]


def _to_lr(pixels: Pixels) -> NDArray[Any]:
    """(h, w, 1 or 3) to (3, h, w) in 0..1."""
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1)
    lr: NDArray[Any] = np.divide(rgb, dtype_peak(pixels.dtype), dtype=np.float32, casting="same_kind")
    return lr


def _grey(sr: NDArray[Any]) -> NDArray[Any]:
    """(3, h, w) to (1, h, w): the luminance of what the network made of grey."""
    grey: NDArray[Any] = np.tensordot(np.array([LUMA], np.float32), sr, 1)
    return grey


def _to_pixels(planes: NDArray[np.float32], dtype: np.dtype[Any]) -> Pixels:
    """(C, h, w) to (h, w, C) of `dtype`."""
    image = planes.transpose(1, 2, 0)
    if dtype.kind == "f":
        return image.astype(dtype, order="C")
    peak = np.float32(dtype_peak(dtype))
    return np.ascontiguousarray((np.clip(image, 0, 1) * peak + np.float32(0.5)).astype(dtype))


def _repeat(plane: Pixels, times: int) -> Pixels:
    return plane.repeat(times, 0).repeat(times, 1)
