"""Upscales an image while its rows arrive: tiles, blending, grey and alpha.

LR rows -> tiles of pixels and style -> session -> upscaled tiles -> bands of upscaled rows

Only one row of tiles and a few rows of the image are in memory, whatever the height of the image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError, ModelFileError, foreign_name
from fxsr.images.image import LUMA, repeat_pixels
from fxsr.images.rows import Pixels, Rows, dtype_peak
from fxsr.runtime.session import Session, SessionInfo
from fxsr.runtime.upscale.alpha import fill_transparent, neighbour_range
from fxsr.runtime.upscale.batches import Tile, TilePosition, upscale_tiles
from fxsr.runtime.upscale.border import BorderedStyle
from fxsr.runtime.upscale.canvas import Canvas
from fxsr.runtime.upscale.tiles import AxisPlan
from fxsr.styles.style_map import StyleRows

_FAITHFUL = np.zeros((1, 1, 1), np.float32)
_HALF_PEAK = float(np.finfo(np.float16).max)


class ImagePlane(IntEnum):
    """The parts of an image that are upscaled separately; a tile shows one of them."""

    COLOUR = 0
    ALPHA = 1


def plane_count(channels: int) -> int:
    """How many `ImagePlane`s an image with this number of channels has."""
    return 2 if channels in (2, 4) else 1


@dataclass
class _TileRow:
    """A row of tiles in work."""

    awaited: int
    """Tiles that the session has not upscaled yet."""
    flat: dict[int, float]
    """Alpha in 0..1 by column, of tiles whose alpha is constant: the session need not upscale those."""
    alpha: tuple[Pixels, Pixels] | None
    """Smallest and largest alpha around each LR pixel that this row of tiles finishes, (h, W) each."""


class ImageUpscaling:
    """Upscales one image with a session."""

    def __init__(
        self, session: Session, image: Rows, style: StyleRows | BorderedStyle, rows: AxisPlan, columns: AxisPlan
    ) -> None:
        self._session = session
        self._image = image
        self._style = style
        self._rows = rows
        self._columns = columns
        self._source = _Window(image)
        self._with_alpha = plane_count(image.channels) == 2
        self._colours = image.channels - self._with_alpha
        self._in_work: deque[_TileRow] = deque()
        self._clamped = False
        """Whether a value was too large for the image's type."""

    def bands(self, note: Callable[[str], None], advance: Callable[[int], None]) -> Iterator[Pixels]:
        """The upscaled image, (h, scale*W, C) of the image's type, from top to bottom.

        Args:
            note: called with a line of text if memory was too short for the tiles, or something can't be kept.
            advance: called with the number of tiles that were just finished.

        Raises:
            ImageError: the image holds a value that the model's type can't hold.
            ModelFileError: the model gives NaN or infinity.
        """
        scale = self._session.info.scale
        canvases = [
            Canvas(self._rows, self._columns, scale, planes) for planes in (self._colours, 1)[: 1 + self._with_alpha]
        ]
        row = 0
        info = self._session.info
        if info.facts and info.facts.io == "uint8" and self._image.dtype != np.uint8:
            note("this model takes and gives 8 bits: finer steps, and values outside 0..1, are lost")
        for tile, sr in upscale_tiles(self._session, self._tiles(), note):
            plane, tile_row, column = tile.position
            check_finite(sr, info)
            in_colour = plane == ImagePlane.COLOUR and self._colours == 3
            canvases[plane].add(tile_row, column, sr if in_colour else _grey_sr(sr))
            advance(1)
            self._in_work[0].awaited -= 1
            if not self._in_work[0].awaited:
                finished = self._in_work.popleft()
                for column, value in finished.flat.items():
                    canvases[ImagePlane.ALPHA].add(row, column, value)
                advance(len(finished.flat))
                yield from self._finish(canvases, row, finished, note)
                row += 1

    def _finish(
        self, canvases: list[Canvas], row: int, tile_row: _TileRow, note: Callable[[str], None]
    ) -> Iterator[Pixels]:
        scale, dtype = self._session.info.scale, self._image.dtype
        begin = 0
        for strips in zip(*(canvas.finish(row) for canvas in canvases), strict=True):
            planes = np.concatenate(strips) if len(strips) > 1 else strips[0]
            if dtype == np.float16 and not self._clamped and np.abs(planes).max(initial=0) > _HALF_PEAK:
                self._clamped = True
                note(f"values beyond {_HALF_PEAK:g}, which half precision can't hold, are clamped to it")
            pixels = _to_pixels(planes, dtype)
            if tile_row.alpha:  # constant alpha stays exactly constant, and edges can't overshoot
                end = begin + len(pixels) // scale
                low, high = (repeat_pixels(limit[begin:end], scale) for limit in tile_row.alpha)
                np.clip(pixels[..., -1], low, high, out=pixels[..., -1])
                begin = end
            yield pixels

    def _tiles(self) -> Iterator[Tile]:
        """All tiles in order. The session may take tiles of the next row before all of this one are upscaled."""
        for row in range(len(self._rows.starts)):
            window = self._rows.window(row)
            pixels = self._source.take(window.start, max(window.stop, self._rows.final_until(row) + 1))
            taken = pixels[self._source.lead :][: self._rows.size]
            style = self._style.rows(window)
            colour: Pixels = taken[..., : self._colours]
            alpha_tiles: list[Tile] = []
            flat: dict[int, float] = {}
            limits = None
            _check_range(taken, self._session.info)
            if self._with_alpha:
                colour = fill_transparent(colour, taken[..., -1])
                limits = self._limits(pixels[..., -1], row)
                for column in range(len(self._columns.starts)):
                    part = taken[:, self._columns.window(column), -1:]
                    if (part == part[0, 0]).all():
                        flat[column] = float(part[0, 0, 0]) / dtype_peak(part.dtype)
                    else:  # a mask has no texture: it is upscaled faithfully, whatever the image's style
                        alpha_tiles.append(Tile(TilePosition(ImagePlane.ALPHA, row, column), _to_lr(part), _FAITHFUL))
            self._in_work.append(_TileRow(len(self._columns.starts) + len(alpha_tiles), flat, limits))
            for column in range(len(self._columns.starts)):
                across = self._columns.window(column)
                t_map = style if style.shape == (1, 1) else style[:, across]
                if (t_map == t_map[0, 0]).all():  # one style costs less than a map of it
                    t_map = t_map[:1, :1]
                yield Tile(TilePosition(ImagePlane.COLOUR, row, column), _to_lr(colour[:, across]), t_map[None])
            yield from alpha_tiles

    def _limits(self, alpha: Pixels, row: int) -> tuple[Pixels, Pixels]:
        """`_TileRow.alpha` of a row of tiles; `alpha` has one more row at either end, where the image has one."""
        lead = self._source.lead
        height = self._rows.final_until(row) - self._rows.starts[row]
        low, high = neighbour_range(alpha[: lead + height + 1])
        return low[lead : lead + height], high[lead : lead + height]


class _Window:
    """The rows of an image that a row of tiles needs, read from top to bottom."""

    def __init__(self, image: Rows) -> None:
        self._image = image
        self._held: Pixels = np.empty((0, image.width, image.channels), image.dtype)
        self._top = 0
        self.lead = 0
        """How many rows above the requested ones the last `take` returned: 1, or 0 at the top of the image."""

    def take(self, start: int, stop: int) -> Pixels:
        """Rows `start` to `stop`, as far as the image goes, and the one above. Rows above that are dropped.

        Raises:
            ImageError: the image has fewer rows than it should.
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


def _check_range(pixels: Pixels, info: SessionInfo) -> None:
    """Refuse an image with values that overflow in the model's type, since they would spoil whole tiles."""
    if pixels.dtype.kind != "f":
        return
    peak = float(np.finfo(info.dtype).max)
    largest = float(np.abs(pixels).max(initial=0))
    if not largest <= peak:  # also if it is NaN
        advice = "; use a model in float32 (fxsr export --fp32)" if info.dtype == np.float16 else ""
        raise ImageError(
            f"the image holds the value {largest:g}; {foreign_name(info.name)} computes up to {peak:g}{advice}"
        )


def check_finite(sr: NDArray[Any], info: SessionInfo) -> None:
    """Refuse a tile with NaN or infinity, which would end up as black. The sum is cheap, and holds them if any does.

    Raises:
        ModelFileError: there are such values.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(sr.sum()) or np.isfinite(sr).all():
            return
    half = info.precision != "fp32"
    cause = "values of the image may be too large for half precision" if half else "its weights may be damaged"
    advice = "use a model in float32 (fxsr export --fp32)" if half else "check it with fxsr verify"
    raise ModelFileError(f"{foreign_name(info.name)} gives NaN or infinity: {cause}; {advice}")


def _grey_sr(sr: NDArray[Any]) -> NDArray[Any]:
    """(3, h, w) to (1, h, w): the luminance, since the network may tint grey slightly."""
    grey: NDArray[Any] = np.tensordot(np.array([LUMA], np.float32), sr, 1)
    return grey


def _to_pixels(planes: NDArray[np.float32], dtype: np.dtype[Any]) -> Pixels:
    """(C, h, w) to (h, w, C) of `dtype`."""
    image = planes.transpose(1, 2, 0)
    if dtype.kind == "f":
        return (image.clip(-_HALF_PEAK, _HALF_PEAK) if dtype == np.float16 else image).astype(dtype, order="C")
    peak = np.float32(dtype_peak(dtype))
    return np.ascontiguousarray((np.clip(image, 0, 1) * peak + np.float32(0.5)).astype(dtype))
