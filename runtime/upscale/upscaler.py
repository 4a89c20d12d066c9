"""The `Upscaler` that `fxsr.load` returns: an image and a style in, the upscaled image out. See `upscaling`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fxsr.errors import ImageError, UsageError
from fxsr.images.rows import Pixels, Rows, as_channels
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.open import open_session
from fxsr.runtime.session import Closable, Session
from fxsr.runtime.upscale.auto_tile import auto_tile, free_memory
from fxsr.runtime.upscale.border import BORDER, Border
from fxsr.runtime.upscale.tiles import DEFAULT_TILE, AxisPlan, check_tiling, default_overlap, plan_axis
from fxsr.runtime.upscale.upscaling import ImageUpscaling, plane_count
from fxsr.styles.style_map import DEFAULT_T, StyleMap, StyleRows, as_style

Progress = Callable[[int, int], None]
"""Called with the number of finished tiles and the number of all tiles."""


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
        tile: largest tile side, LR pixels; 0 upscales every image whole; None means 256, or the engine's limit if that
            is smaller; "auto" means the largest side that memory allows.
        overlap: LR pixels that neighbouring tiles share at least; None means `default_overlap(tile)`.
        provider: execution provider for `.onnx` files, see `fxsr.runtime.backends.providers`.
        trust: load an engine that has no manifest.

    Raises:
        FxsrError: see `fxsr.runtime.open.open_session` and `fxsr.runtime.upscale.tiles.check_tiling`.
    """
    if isinstance(tile, int):  # to fail before a model is opened
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
    """Upscales images with one session. Threads may share it; they take turns on the session."""

    def __init__(self, session: Session, tile: int | None = None, overlap: int | None = None) -> None:
        largest = session.info.tile
        if tile is None:
            tile = min(DEFAULT_TILE, *largest) if largest else DEFAULT_TILE
        overlap = default_overlap(tile) if overlap is None else overlap
        check_tiling(tile, overlap)
        if largest and not 0 < tile <= min(largest):
            asked = f"tile {tile} exceeds {min(largest)}" if tile else "an engine can't upscale images whole"
            raise UsageError(f"{asked}: export again with a larger --tile, or run with --tile {min(largest)}")
        self.session = session
        self.tile = tile
        self.overlap = overlap
        self._lock = threading.Lock()
        self._thread: int | None = None
        """The thread that holds the lock."""
        self._closed = False

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
            note: called with a line of text if memory was too short and tiles were cut into smaller ones.

        Returns:
            The image, `scale` times as large, of the same type and number of channels. Integers are rounded and
            clamped; floats are not clamped. Fully transparent pixels get the colours of their surroundings, as far
            as a tile reaches.

        Raises:
            ImageError: the image has another shape or type, is empty, or is not finite.
            StyleError: `t` is not a style in 0..1.
            UsageError: it is closed.
            FxsrError: the backend failed.
        """
        pixels = as_channels(image)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise ImageError("the image holds NaN or infinity")
        upscaled = self.stream(Rows.of(pixels), t, progress, note).whole()
        return upscaled[..., 0] if np.ndim(image) == 2 else upscaled

    def stream(
        self,
        image: Rows,
        t: StyleMap | StyleRows | float | ArrayLike = DEFAULT_T,
        progress: Progress | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> Rows:
        """Upscale an image without holding the input or the output in memory as a whole.

        Args:
            image: its bands are read when they are needed.
            t, progress, note: see `__call__`. `t` may also be the rows of a style for an image of this size, as
                `StyleMap.over` and `fxsr.styles.options.StyleOptions.over` return them. Alpha has tiles of its own.

        Returns:
            The image, `scale` times as large, of the same kind and with its metadata. The work is done while bands are
            taken, in the thread that takes them, and raises the errors of `__call__`. Other threads wait until all
            bands are taken or the iterator is closed; in the same thread, a second image is refused until then.
        """
        self._check_open()
        style = t if isinstance(t, StyleRows) else as_style(t).over(image.height, image.width)
        rows, columns = self.axis_plan(image.height), self.axis_plan(image.width)
        border = Border((rows.length - image.height) // 2, (columns.length - image.width) // 2)
        larger, larger_style = border.around(image), border.around_style(style, image.height, image.width)
        total = self.tile_count(image)

        def bands() -> Iterator[Pixels]:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                for _ in range(count):
                    done += 1
                    if progress:
                        progress(done, total)

            if self._thread == threading.get_ident():  # it would wait for itself
                raise UsageError("another image is in work in this thread: first take all its bands, or close them")
            with self._lock:
                self._thread = threading.get_ident()
                try:
                    self._check_open()
                    work = ImageUpscaling(self.session, larger, larger_style, rows, columns)
                    yield from border.cut_off(work.bands(note, advance), image.height, self.scale)
                finally:
                    self._thread = None

        return replace(image, height=image.height * self.scale, width=image.width * self.scale, bands=bands())

    def close(self) -> None:
        """Free the session."""
        self._closed = True
        self.session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this upscaler is closed; load the model again, and use it inside the `with` block")

    def axis_plan(self, length: int) -> AxisPlan:
        """How an axis of this length (LR pixels), and `BORDER` pixels more at either end, is cut into tiles.

        An axis that fits into a tile alone stays one tile. Its ends are shorter where the session takes no more.
        """
        if self.tile and length > self.tile:
            return plan_axis(length + 2 * BORDER, self.tile, self.overlap)
        most = min(self.session.info.tile) if self.session.info.tile else length + 2 * BORDER
        whole = length + 2 * min(BORDER, (most - length) // 2)
        return plan_axis(whole, 0, self.overlap)

    def tile_count(self, image: Rows) -> int:
        """How many tiles an image is cut into. Alpha has as many as colour; a run skips those that are constant."""
        rows, columns = (len(self.axis_plan(side).starts) for side in (image.height, image.width))
        return rows * columns * plane_count(image.channels)
