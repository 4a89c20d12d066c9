"""From an image and a style to the enlarged image: tiles, blending, grey and alpha. What `fxsr.load` returns.

image (H, W, C) -> lr tiles + t tiles -> session -> sr tiles -> image (scale*H, scale*W, C)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fxsr.errors import ImageError, UsageError
from fxsr.image import dtype_peak, luminance
from fxsr.runtime.alpha import fill_transparent, limit_to_neighbours
from fxsr.runtime.batches import Tile, upscale_tiles
from fxsr.runtime.session import Closable, Session, open_session
from fxsr.runtime.tiles import DEFAULT_TILE, AxisPlan, check_tiling, default_overlap, plan_axis
from fxsr.stylemap import DEFAULT_T, StyleMap, as_style
from fxsr.weights import DEFAULT_MODEL

Pixels = NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with tiles done and tiles in all."""


def load(
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    tile: int | None = None,
    overlap: int | None = None,
    *,
    provider: str = "auto",
    trust: bool = False,
) -> Upscaler:
    """Open a model and return what upscales with it.

    Args:
        model: a bundled name, an `.onnx` file exported by fxsr, an engine built from one, or a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        tile: largest tile side, LR pixels; 0 runs every image whole; None takes 256, or the engine's if it is less.
        overlap: what neighbouring tiles share at least, LR pixels; None takes `default_overlap(tile)`.
        provider: for `.onnx` files: one of `fxsr.runtime.providers.PROVIDERS`.
        trust: load an engine without a manifest.

    Raises:
        FxsrError: see `fxsr.runtime.session.open_session` and `fxsr.runtime.tiles.check_tiling`.
    """
    if tile is not None:  # better to know before a model is opened
        check_tiling(tile, default_overlap(tile) if overlap is None else overlap)
    session = open_session(model, device, provider=provider, trust=trust)
    try:
        return Upscaler(session, tile, overlap)
    except UsageError:
        session.close()
        raise


class Upscaler(Closable):
    """Upscales images with one session. Safe to share between threads; they take turns on the session."""

    def __init__(self, session: Session, tile: int | None = None, overlap: int | None = None) -> None:
        largest = session.info.tile
        if tile is None:
            tile = min(DEFAULT_TILE, *largest) if largest else DEFAULT_TILE
        overlap = default_overlap(tile) if overlap is None else overlap
        check_tiling(tile, overlap)
        if largest and not 0 < tile <= min(largest):
            asked = f"tile {tile} exceeds {min(largest)}" if tile else "an engine takes no image whole"
            raise UsageError(f"{asked}: export again with a larger --tile, or run with --tile {min(largest)}")
        self.session = session
        self.tile = tile
        self.overlap = overlap
        self._lock = threading.Lock()

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return self.session.info.scale

    def __call__(
        self,
        image: Pixels,
        t: StyleMap | float | ArrayLike = DEFAULT_T,
        progress: Progress | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> Pixels:
        """Upscale an image.

        Args:
            image: (H, W) or (H, W, C), C being 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha);
                uint8, uint16, or float16/32/64 in 0..1.
            t: one style in 0..1, an (H', W') array, or a StyleMap. A map of another size is resized to the image's.
            progress: called after each tile.
            note: hears, in a line, if memory was short and tiles had to be cut into smaller ones.

        Returns:
            The image scale times as large, of the same type and number of channels. Integers are rounded and
            clamped; floats are not clamped. Colours under full transparency are those of their surroundings.

        Raises:
            ImageError: not such an image.
            StyleError: not such a style.
            FxsrError: the backend failed.
        """
        pixels = _checked(image)
        height, width, channels = pixels.shape
        style = as_style(t).resized(height, width)
        with_alpha = channels in (2, 4) and bool((pixels[..., -1] != pixels[0, 0, -1]).any())
        tiles = len(self.plan(height).starts) * len(self.plan(width).starts)
        count = _Counter(progress, tiles * (2 if with_alpha else 1))
        if channels not in (2, 4):
            enlarged = self._enlarge(pixels, style, count, note)
            return enlarged[..., 0] if np.ndim(image) == 2 else enlarged
        alpha = pixels[..., -1]
        out = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
        out[..., :-1] = self._enlarge(fill_transparent(pixels[..., :-1], alpha), style, count, note)
        out[..., -1] = alpha[0, 0]
        if with_alpha:  # a mask is no texture: it is enlarged faithfully whatever the picture's style
            out[..., -1] = self._enlarge(alpha[..., None], StyleMap.uniform(0), count, note)[..., 0]
            limit_to_neighbours(out[..., -1], alpha, self.scale)
        return out

    def close(self) -> None:
        """Free the session."""
        self.session.close()

    def plan(self, length: int) -> AxisPlan:
        """How an axis of this length (LR pixels) is cut into tiles."""
        return plan_axis(length, self.tile, self.overlap)

    def _enlarge(self, image: Pixels, style: StyleMap, count: _Counter, note: Callable[[str], None]) -> Pixels:
        """(H, W, 1 or 3) to (scale*H, scale*W, 1 or 3), tile by tile; holds one row of tiles beside in and output."""
        scale = self.scale
        height, width, channels = image.shape
        rows, columns = self.plan(height), self.plan(width)
        out = np.empty((height * scale, width * scale, channels), image.dtype)
        band = np.zeros((3, rows.size * scale, width * scale), np.float32)
        down, across = rows.weights(scale), columns.weights(scale)
        tiles = (
            _tile(image, style, rows, columns, (row, column))
            for row in range(len(rows.starts))
            for column in range(len(columns.starts))
        )
        with self._lock:
            for (row, column), sr in upscale_tiles(self.session, tiles, note):
                top, left = rows.starts[row], columns.starts[column]
                sr *= down[row][:, None] * across[column]
                band[:, :, left * scale : (left + columns.size) * scale] += sr
                count.advance()
                if column + 1 < len(columns.starts):
                    continue
                ready = (rows.final_until(row) - top) * scale
                out[top * scale : top * scale + ready] = _to_pixels(band[:, :ready], channels, image.dtype)
                kept = band.shape[1] - ready
                band[:, :kept] = band[:, ready:].copy()
                band[:, kept:] = 0
        return out


class _Counter:
    """Tiles done, told to whoever wants to know."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def advance(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)


def _tile(image: Pixels, style: StyleMap, rows: AxisPlan, columns: AxisPlan, place: tuple[int, int]) -> Tile:
    window = rows.window(place[0]), columns.window(place[1])
    pixels, t_map = image[window], style.window(*window)[0]
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1)
    lr = np.divide(rgb, dtype_peak(pixels.dtype), dtype=np.float32, casting="same_kind")
    if (t_map == t_map[0, 0, 0]).all():  # one style costs less than a map of it
        t_map = t_map[:, :1, :1]
    return Tile(place, lr, t_map)


def _checked(image: Pixels) -> Pixels:
    """The image as (H, W, C).

    Raises:
        ImageError: wrong shape or type, empty, or not finite.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise ImageError(f"an image is an (H, W) or (H, W, C) array with 1 to 4 channels; this one is {pixels.shape}")
    if pixels.size == 0:
        raise ImageError(f"the image is empty: {pixels.shape}")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise ImageError(f"an image is of uint8, uint16 or floats in 0..1; this one is of {pixels.dtype}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError("the image holds NaN or infinity")
    return pixels


def _to_pixels(sr: NDArray[np.float32], channels: int, dtype: np.dtype[Any]) -> Pixels:
    """(3, h, w) to (h, w, channels) of `dtype`; grey is the luminance of what the network made of it."""
    image = sr.transpose(1, 2, 0)
    if channels == 1:
        image = luminance(image)[..., None]
    if dtype.kind == "f":
        return image.astype(dtype)
    peak = np.float32(dtype_peak(dtype))
    return (np.clip(image, 0, 1) * peak + np.float32(0.5)).astype(dtype)
