"""Where each frame's style comes from: one t, one map, a folder of maps, a video of maps, or the frame itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from fxsr.errors import StyleError, VideoError
from fxsr.images.formats import READABLE
from fxsr.images.image import brightness, resize_plane
from fxsr.images.rows import Pixels, Rows
from fxsr.runtime.session import Closable
from fxsr.runtime.video.kinds import is_video
from fxsr.runtime.video.reading import VideoReader
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import StyleMap

_MEMORY = 0.2
"""Seconds in which the weight of an earlier frame's map falls to 1/e: about five frames."""
_CUT = 0.1
"""Mean difference of two frames' thumbnails, of 0..1, from which on the second one begins a new scene."""
_THUMBNAIL = 32
"""Longest side of what cuts are found in."""


class FrameStyles(Closable, Protocol):
    """The style map of each frame, in order."""

    def of(self, pixels: Pixels, seconds: float) -> StyleMap | None:
        """The map of the next frame; None for one t.

        Args:
            pixels: the frame, (H, W, C), upright.
            seconds: when it is shown.

        Raises:
            StyleError: there is no map for it, or its map can't be read.
        """
        ...

    def state(self) -> bytes:
        """What `of` must know of earlier frames."""
        return b""

    def close(self) -> None:
        """Close the files that maps come from."""
        return


def open_styles(t_map: StyleMap | AutomaticStyle | Path | None, skip: int = 0, state: bytes = b"") -> FrameStyles:
    """The styles of a video's frames.

    Args:
        t_map: one map for all frames; a kind of automatic map; or a file: a folder of maps, whose names in order are
            those of the frames, a video, each frame of which is a map, or an image.
        skip: frames that were done by an earlier run.
        state: what `FrameStyles.state` gave after these.

    Raises:
        StyleError, VideoError: the maps can't be read.
    """
    if isinstance(t_map, AutomaticStyle):
        return _Automatic(t_map, state)
    if isinstance(t_map, Path) and t_map.is_dir():
        return _Folder(t_map, skip)
    if isinstance(t_map, Path) and is_video(t_map):
        return _Video(t_map, skip)
    return _Still(StyleMap.read(t_map) if isinstance(t_map, Path) else t_map)


class _Still(FrameStyles):
    def __init__(self, t_map: StyleMap | None) -> None:
        self._map = t_map

    def of(self, pixels: Pixels, seconds: float) -> StyleMap | None:
        return self._map


class _Folder(FrameStyles):
    def __init__(self, folder: Path, skip: int) -> None:
        self._folder = folder
        self._files = [
            path for path in sorted(folder.iterdir()) if path.suffix.lower() in READABLE and path.name[0] != "."
        ]
        self._next = skip

    def of(self, pixels: Pixels, seconds: float) -> StyleMap:
        if self._next >= len(self._files):
            raise StyleError(
                f"there are {len(self._files)} style maps in {self._folder}, and more frames than that; a folder needs "
                "a map for each frame"
            )
        self._next += 1
        return StyleMap.read(self._files[self._next - 1])


class _Video(FrameStyles):
    def __init__(self, path: Path, skip: int) -> None:
        try:
            self._reader = VideoReader(path)
        except VideoError as error:
            raise StyleError(f"style map {error}") from error
        self._frames = self._reader.frames(skip)
        self._count = skip

    def of(self, pixels: Pixels, seconds: float) -> StyleMap:
        try:
            frame = next(self._frames, None)
        except VideoError as error:
            raise StyleError(f"style map {error}") from error
        if frame is None:
            raise StyleError(
                f"style map {self._reader.path} has {self._count} frames, and the video more; it needs a frame for each"
            )
        self._count += 1
        return StyleMap(brightness(frame.pixels()))

    def close(self) -> None:
        self._reader.close()


class _Memory(msgspec.Struct):
    """What automatic maps depend on."""

    shape: tuple[int, int]
    smooth: bytes
    """The last map, float32."""
    thumbnail_shape: tuple[int, int]
    thumbnail: bytes
    seconds: float


class _Automatic(FrameStyles):
    """Automatic maps, smoothed in time so that they don't flicker: an exponential mean, begun anew at each cut."""

    def __init__(self, style: AutomaticStyle, state: bytes) -> None:
        self._style = style
        self._smooth: NDArray[np.float32] | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._seconds = 0.0
        if state:
            memory = msgspec.msgpack.decode(state, type=_Memory)
            self._smooth = np.frombuffer(memory.smooth, np.float32).reshape(memory.shape)
            self._thumbnail = np.frombuffer(memory.thumbnail, np.float32).reshape(memory.thumbnail_shape)
            self._seconds = memory.seconds

    def of(self, pixels: Pixels, seconds: float) -> StyleMap:
        fresh = self._style.of_rows(Rows.of(pixels)).values
        thumbnail = _thumbnail(pixels)
        if self._smooth is None or self._thumbnail is None or _is_cut(self._thumbnail, thumbnail):
            self._smooth = fresh
        else:
            share = np.float32(1 - math.exp(-max(0.0, seconds - self._seconds) / _MEMORY))
            self._smooth = self._smooth + share * (fresh - self._smooth)
        self._thumbnail, self._seconds = thumbnail, seconds
        return StyleMap(self._smooth)

    def state(self) -> bytes:
        if self._smooth is None or self._thumbnail is None:
            return b""
        height, width = self._smooth.shape
        rows, columns = self._thumbnail.shape
        return msgspec.msgpack.encode(
            _Memory((height, width), self._smooth.tobytes(), (rows, columns), self._thumbnail.tobytes(), self._seconds)
        )


def _thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    grey = brightness(pixels)
    factor = max(1, max(grey.shape) / _THUMBNAIL)
    return resize_plane(grey, max(1, round(grey.shape[0] / factor)), max(1, round(grey.shape[1] / factor)))


def _is_cut(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    return float(np.abs(after - before).mean()) > _CUT
