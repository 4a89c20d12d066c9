"""Upscales one video: while a frame is upscaled, the next is decoded and the previous one is encoded.

file -> decode -> belt -> upscale (in the caller's thread, which owns the session) -> belt -> encode -> segments -> file
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fxsr import __version__
from fxsr.errors import FxsrError, VideoError, first_line
from fxsr.images.resample import resampled
from fxsr.images.rows import Pixels, Rows
from fxsr.runtime.belt import Belt, BeltAbandonedError
from fxsr.runtime.upscale.faithful import LrPsnr
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.runtime.video.containers import header_apart
from fxsr.runtime.video.encoding import EncoderChoice, Picture, choose_encoder, open_encoder
from fxsr.runtime.video.joining import join
from fxsr.runtime.video.maps import open_styles
from fxsr.runtime.video.options import VideoOptions
from fxsr.runtime.video.reading import VideoFacts, VideoReader
from fxsr.runtime.video.segments import EncodedFrame, Head, SegmentFolder
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.options import StyleOptions
from fxsr.styles.style_map import StyleMap

_WAITING = 2
"""Largest number of frames that wait before and after upscaling."""


@dataclass(frozen=True)
class VideoRequest:
    """One video to upscale."""

    source: Path
    target: Path
    t_map: StyleMap | AutomaticStyle | Path | None = None
    """See `fxsr.runtime.video.maps.open_styles`."""
    style: StyleOptions = field(default_factory=StyleOptions)
    options: VideoOptions = field(default_factory=VideoOptions)
    outscale: float | None = None
    """Size of the output relative to the input; None: the model's scale."""
    faithful: float | None = None
    """Smallest LR-PSNR of a frame in dB; None: it is not measured."""


@dataclass(frozen=True)
class VideoResult:
    """A video that was written."""

    size: tuple[int, int]
    """Width and height."""
    frames: int
    upscaled: int
    """How many of these frames this run upscaled; an earlier one did the others."""
    seconds: float
    """The time that these took."""
    notes: tuple[str, ...]
    lr_psnr: float | None = None
    """The smallest of all frames in dB; None if it was not measured."""


def upscale_video(request: VideoRequest, upscaler: Upscaler, progress: Progress) -> VideoResult:
    """Upscale a video. If it is interrupted, what is done stays in a folder next to the output.

    Args:
        progress: called after each tile, in the calling thread; may raise to stop the run.

    Raises:
        VideoError, StyleError: the video or a style map can't be read, or the output can't be written.
        UsageError: the encoder can't do what is asked.
        MissingExtraError: PyAV is not installed.
        FxsrError: the backend failed.
    """
    begin = time.perf_counter()
    with VideoReader(request.source) as reader:
        facts = reader.facts
        choice = choose_encoder(request.target, facts.signal, request.options, facts.light)
        picture = _picture(facts, choice, request.outscale or upscaler.scale)
        apart = header_apart(request.target)
        open_encoder(choice, picture, apart=apart)  # to fail before anything is upscaled
        folder = SegmentFolder(request.target, _about(request, upscaler, choice), resume=request.options.resume)
        earlier = folder.frames
        try:
            notes = _upscale(request, reader, upscaler, choice, picture, folder, progress, apart=apart)
        finally:
            folder.remove_if_empty()
    seconds = time.perf_counter() - begin
    lost = join(request.source, request.target, folder, choice, picture, facts)
    heads = [segment.head() for segment in folder.segments]
    measured = [head.lr_psnr for head in heads if head.lr_psnr is not None]
    frames = folder.frames
    folder.remove()
    cut = facts.missing(heads[0].times[0], heads[-1].times[-1])
    told = [*facts.notes, *cut, *notes, *(note for head in heads for note in head.notes), f"encoded by {choice}"]
    return VideoResult(
        (picture.width, picture.height),
        frames,
        frames - earlier,
        seconds,
        tuple(dict.fromkeys([*told, *choice.notes, *lost])),
        min(measured, default=None),
    )


def examine_video(request: VideoRequest, scale: int) -> tuple[VideoFacts, Picture, tuple[str, ...]]:
    """What a video is, what the frames of its output would be, and notes; nothing is upscaled.

    Raises:
        VideoError, UsageError, MissingExtraError: see `upscale_video`.
    """
    with VideoReader(request.source) as reader:
        facts = reader.facts
    choice = choose_encoder(request.target, facts.signal, request.options, facts.light)
    return facts, _picture(facts, choice, request.outscale or scale), (*facts.notes, *choice.notes)


def _picture(facts: VideoFacts, choice: EncoderChoice, factor: float) -> Picture:
    layout = choice.signal.layout
    width, height = (
        max(unit, round(side * factor / unit) * unit)
        for side, unit in ((facts.width, layout.across), (facts.height, layout.down))
    )
    return Picture(width, height, facts.rate, facts.aspect)


def _about(request: VideoRequest, upscaler: Upscaler, choice: EncoderChoice) -> dict[str, object]:
    """What the frames depend on, by names that messages use."""
    status = request.source.stat()
    info = upscaler.session.info
    t_map = request.t_map
    if isinstance(t_map, StyleMap):
        style: object = [t_map.values.shape, float(t_map.values.astype(np.float64).sum())]
    elif isinstance(t_map, Path):
        style = [str(t_map.resolve()), t_map.stat().st_mtime_ns]
    else:
        style = str(t_map)
    return {
        "version of fxsr": __version__,
        "source": [status.st_size, status.st_mtime_ns],
        "model": [info.name, info.scale, info.precision, info.baked_t],
        "tile or overlap": [upscaler.tile, upscaler.overlap],
        "style": repr(request.style),
        "style map": style,
        "size": request.outscale,
        "encoder": [str(choice), choice.pixel_format],
        "length of segments": request.options.segment,
        "--faithful": request.faithful,
    }


@dataclass(frozen=True)
class _Decoded:
    """A frame that waits to be upscaled."""

    index: int
    time: int
    pixels: Pixels
    t_map: StyleMap | None
    notes: tuple[str, ...]
    state: bytes
    """Of the style maps, after the last frame of a segment; else nothing."""


@dataclass(frozen=True)
class _Upscaled:
    """A frame that waits to be encoded."""

    frame: _Decoded
    pixels: Pixels
    notes: tuple[str, ...]
    lr_psnr: float | None


def _upscale(
    request: VideoRequest,
    reader: VideoReader,
    upscaler: Upscaler,
    choice: EncoderChoice,
    picture: Picture,
    folder: SegmentFolder,
    progress: Progress,
    *,
    apart: bool,
) -> list[str]:
    """Upscale what is missing in a folder of segments. Returns notes about the style maps."""
    facts, done = reader.facts, folder.frames
    waiting: Belt[_Decoded] = Belt(_WAITING)
    finished: Belt[_Upscaled] = Belt(_WAITING)
    segment = request.options.segment
    with ThreadPoolExecutor(2, "video") as pool:
        pool.submit(waiting.fill, _decoded(request, reader, done, folder.segments[-1].head().state if done else b""))
        encoding = pool.submit(_encode, finished, choice, picture, folder, segment, apart)
        try:
            tiles = upscaler.tile_count(Rows(facts.height, facts.width, 3, np.dtype(np.float32), iter(())))
            for frame in waiting:
                advance = _Advance(frame.index * tiles, max(facts.frames, frame.index + 1) * tiles, progress)
                finished.put(_one(request, frame, upscaler, picture, advance))
            finished.end()
        except BeltAbandonedError:  # encoding failed, and says why
            pass
        except BaseException as error:
            finished.end(error if isinstance(error, Exception) else FxsrError("stopped"))
            raise
        finally:
            waiting.abandon()
        encoding.result()
    return list(request.t_map.notes) if isinstance(request.t_map, AutomaticStyle) else []


@dataclass(frozen=True)
class _Advance:
    """Reports the tiles of one frame as tiles of the whole video."""

    before: int
    total: int
    progress: Progress

    def __call__(self, done: int, of: int) -> None:
        self.progress(self.before + done, self.total)


def _decoded(request: VideoRequest, reader: VideoReader, skip: int, state: bytes) -> Iterator[_Decoded]:
    """The frames that are not done yet, with their style maps."""
    with open_styles(request.t_map, skip, state) as styles:
        for frame in reader.frames(skip):
            pixels = frame.pixels()
            t_map = styles.of(pixels, float(frame.time * reader.facts.time_base))
            last = (frame.index + 1) % request.options.segment == 0
            yield _Decoded(frame.index, frame.time, pixels, t_map, frame.notes, styles.state() if last else b"")


def _one(request: VideoRequest, frame: _Decoded, upscaler: Upscaler, picture: Picture, progress: Progress) -> _Upscaled:
    rows = Rows.of(frame.pixels)
    notes: list[str] = []
    fidelity = None
    if request.faithful is not None:
        fidelity = LrPsnr(rows, upscaler.scale, request.faithful)
        rows = fidelity.watch_input(rows)
    style = request.style.over(frame.t_map, rows.height, rows.width)
    upscaled = upscaler.stream(rows, style, progress, notes.append)
    try:
        pixels = (upscaled if fidelity is None else fidelity.watch_output(upscaled)).whole()
    except FxsrError as error:
        error.args = (f"frame {frame.index}: {error}",)
        raise
    return _Upscaled(
        frame, _resized(pixels, picture), (*frame.notes, *notes), None if fidelity is None else fidelity.value
    )


def _resized(pixels: Pixels, picture: Picture) -> Pixels:
    import pyvips

    if pixels.shape[:2] == (picture.height, picture.width):
        return pixels
    sized: Any = resampled(pyvips.Image.new_from_array(pixels), picture.width, picture.height)
    array: Pixels = sized.cast("uchar" if pixels.dtype == np.uint8 else "float").numpy()
    return array.reshape(picture.height, picture.width, pixels.shape[2])


def _encode(
    finished: Belt[_Upscaled],
    choice: EncoderChoice,
    picture: Picture,
    folder: SegmentFolder,
    length: int,
    apart: bool,
) -> None:
    """Encode frames while they come over the belt; each segment is written when its last frame is encoded."""
    try:
        writer: _SegmentWriter | None = None
        for upscaled in finished:
            writer = writer or _SegmentWriter(choice, picture, apart=apart)
            writer.add(upscaled)
            if (upscaled.frame.index + 1) % length == 0:
                writer.finish(folder)
                writer = None
        if writer is not None:
            writer.finish(folder)
    finally:
        finished.abandon()


class _SegmentWriter:
    """A segment that is being encoded."""

    def __init__(self, choice: EncoderChoice, picture: Picture, *, apart: bool) -> None:
        self._choice = choice
        self._context = open_encoder(choice, picture, apart=apart)
        self._head = Head([], [])
        self._packets: list[EncodedFrame] = []

    def add(self, upscaled: _Upscaled) -> None:
        """Encode a frame."""
        head = self._head
        frame = self._choice.signal.frame(upscaled.pixels, self._choice.pixel_format)
        frame.pts, frame.time_base = len(head.times), self._context.time_base
        head.times.append(upscaled.frame.time)
        head.notes += [note for note in upscaled.notes if note not in head.notes]
        head.state = upscaled.frame.state
        if upscaled.lr_psnr is not None:
            head.lr_psnr = upscaled.lr_psnr if head.lr_psnr is None else min(head.lr_psnr, upscaled.lr_psnr)
        self._take(frame)

    def finish(self, folder: SegmentFolder) -> None:
        """Encode what the encoder still holds, and write the segment."""
        self._take(None)
        if sorted(self._head.order) != list(range(len(self._head.times))):
            raise VideoError(f"{self._choice.name} does not give one packet for each frame; give another --encoder")
        folder.add(self._head, self._packets)

    def _take(self, frame: Any) -> None:
        from av.error import FFmpegError

        try:
            for packet in self._context.encode(frame):
                self._head.order.append(round(packet.pts * packet.time_base / self._context.time_base))
                self._packets.append(EncodedFrame(bytes(packet), packet.is_keyframe))
        except (FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise VideoError(f"{self._choice.name} can't encode a frame ({reason}); give another --encoder") from error
