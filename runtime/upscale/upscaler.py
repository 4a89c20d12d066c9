"""From an image and a style to the enlarged image. What `fxsr.load` returns; the work is in `upscaling`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fxsr.errors import ImageError, UsageError
from fxsr.images.rows import Pixels, Rows
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.open import open_session
from fxsr.runtime.session import Closable, Session
from fxsr.runtime.upscale.auto_tile import auto_tile, free_memory
from fxsr.runtime.upscale.tiles import DEFAULT_TILE, AxisPlan, check_tiling, default_overlap, plan_axis
from fxsr.runtime.upscale.upscaling import ImageUpscaling, layers
from fxsr.styles.style_map import DEFAULT_T, StyleMap, as_style

Progress = Callable[[int, int], None]
"""Called with tiles done and tiles in all."""


def load(
    model: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    tile: int | Literal["auto"] | None = None,
    overlap: int | None = None,
    *,
    provider: str = "auto",
    trust: bool = False,
) -> Upscaler:
    """Open a model and return what upscales with it.

    Args:
        model: a bundled name, an `.onnx` file exported by fxsr, an engine built from one, or a checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        tile: largest tile side, LR pixels; 0 runs every image whole; None takes 256, or the engine's if it is less;
            "auto" the largest that memory allows.
        overlap: what neighbouring tiles share at least, LR pixels; None takes `default_overlap(tile)`.
        provider: for `.onnx` files: one of `fxsr.runtime.backends.providers.PROVIDERS`.
        trust: load an engine without a manifest.

    Raises:
        FxsrError: see `fxsr.runtime.session.open_session` and `fxsr.runtime.upscale.tiles.check_tiling`.
    """
    if isinstance(tile, int):  # better to know before a model is opened
        check_tiling(tile, default_overlap(tile) if overlap is None else overlap)
    session = open_session(model, device, provider=provider, trust=trust)
    try:
        if tile == "auto":
            tile = auto_tile(session.info, free_memory(session.info.device))
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
            clamped; floats are not clamped. Colours under full transparency are those of their surroundings, as far
            as a tile reaches.

        Raises:
            ImageError: not such an image.
            StyleError: not such a style.
            FxsrError: the backend failed.
        """
        pixels = _checked(image)
        enlarged = self.stream(Rows.of(pixels), t, progress, note).whole()
        return enlarged[..., 0] if np.ndim(image) == 2 else enlarged

    def stream(
        self,
        image: Rows,
        t: StyleMap | float | ArrayLike = DEFAULT_T,
        progress: Progress | None = None,
        note: Callable[[str], None] = lambda text: None,
        *,
        feather: float = 0,
    ) -> Rows:
        """Upscale an image of which neither the input nor the output is in memory as a whole.

        Args:
            image: taken from as rows are needed.
            t, progress, note: as of a call. Alpha counts for tiles of its own.
            feather: how soft a map's borders are made, in pixels of the image to either side.

        Returns:
            The image scale times as large, of the same kind, with its metadata; the work is done as bands are taken,
            in the thread that takes them, and raises what a call does. Until all are taken, or they are closed, other
            threads wait.
        """
        style = as_style(t).over(image.height, image.width, feather)
        rows, columns = self.plan(image.height), self.plan(image.width)
        total = len(rows.starts) * len(columns.starts) * layers(image.channels)

        def bands() -> Iterator[Pixels]:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                for _ in range(count):
                    done += 1
                    if progress:
                        progress(done, total)

            with self._lock:
                yield from ImageUpscaling(self.session, image, style, rows, columns).bands(note, advance)

        return replace(image, height=image.height * self.scale, width=image.width * self.scale, bands=bands())

    def close(self) -> None:
        """Free the session."""
        self.session.close()

    def plan(self, length: int) -> AxisPlan:
        """How an axis of this length (LR pixels) is cut into tiles."""
        return plan_axis(length, self.tile, self.overlap)


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
