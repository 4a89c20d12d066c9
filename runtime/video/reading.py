"""Reads a video: what it is, and its frames one after the other, upright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import VideoError, first_line
from fxsr.extras import needs
from fxsr.images.rows import Pixels
from fxsr.runtime.session import Closable
from fxsr.runtime.video.carried import Light, side_data, unkept
from fxsr.runtime.video.colour import Signal

_RATE = Fraction(25)
"""Frames per second of a video that does not say."""
_DAMAGED = "some of its frames are damaged, and upscaled as the decoder mended them"
_FRAMES_THAT_END = 5
"""How many average frames before its end a video may have its last one, whose length is not known."""
_MATROSKA_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_ONE = 65536
"""1 in a display matrix (ISO/IEC 14496-12, 8.3.2.3)."""


@dataclass(frozen=True)
class Turn:
    """How a decoded frame is turned upright."""

    transposed: bool = False
    mirrored: bool = False
    """Left and right change places, after transposing."""
    flipped: bool = False
    """Top and bottom change places, after transposing."""

    @staticmethod
    def parse(matrix: bytes) -> Turn | None:
        """From a display matrix, nine numbers of 32 bits in the machine's order. None: it is no quarter turn."""
        a, b, _, c, d = (int(number) for number in np.frombuffer(matrix, np.int32)[:5])
        if not b and not c and abs(a) == abs(d) == _ONE:
            return Turn(False, a < 0, d < 0)
        if not a and not d and abs(b) == abs(c) == _ONE:
            return Turn(True, c < 0, b < 0)
        return None

    @staticmethod
    def of_frame(frame: Any) -> Turn | None:
        """What a decoded frame states. None: it is no quarter turn."""
        if matrix := side_data(frame).get("DISPLAYMATRIX"):
            return Turn.parse(matrix)
        return _QUARTER_TURNS.get(frame.rotation % 360)  # side data that PyAV can't list: it tells the angle alone

    def upright(self, pixels: Pixels) -> Pixels:
        """(H, W, C) pixels, turned."""
        turned = pixels.transpose(1, 0, 2) if self.transposed else pixels
        return np.ascontiguousarray(turned[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1])


_QUARTER_TURNS = {
    0: Turn(),
    90: Turn(transposed=True, flipped=True),
    180: Turn(mirrored=True, flipped=True),
    270: Turn(transposed=True, mirrored=True),
}
"""By degrees counterclockwise."""


@dataclass(frozen=True)
class VideoFacts:
    """What a video is, by its headers and its first frame."""

    signal: Signal
    width: int
    """Of an upright frame."""
    height: int
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Unit of the frames' times, in seconds."""
    aspect: Fraction
    """Width of a pixel by its height, upright; 0 if it is not stated."""
    turn: Turn
    frames: int
    """How many frames there probably are; 0 if that can't be known."""
    lasts: Fraction | None = None
    """Seconds that the stream states; None if only the file does, or nothing."""
    light: Light | None = None
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """For how long a frame is shown on average, in units of `time_base`; at least 1."""
        return max(1, round(1 / (self.rate * self.time_base)))

    def missing(self, first: int, last: int) -> tuple[str, ...]:
        """A note if frames are missing at the end, as in a file that was cut off.

        Args:
            first, last: when the first and the last frame that could be read are shown, in units of `time_base`.
        """
        shown = (last - first) * self.time_base
        if self.lasts is None or self.lasts - shown < _FRAMES_THAT_END / self.rate:
            return ()
        last_frame, stated = float(shown), float(self.lasts)
        return (f"its last frame is shown at {last_frame:.2f} s of the {stated:.2f} s that it states; was it cut off?",)


@dataclass(frozen=True)
class SourceFrame:
    """One frame."""

    index: int
    time: int
    """In units of `VideoFacts.time_base`; each is later than the one before."""
    decoded: Any
    """PyAV's frame."""
    facts: VideoFacts

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out of it, and what is wrong with it, one line each."""
        return (*unkept(self.decoded), *([_DAMAGED] if self.decoded.is_corrupt else []))

    def pixels(self) -> NDArray[Any]:
        """(H, W, C), upright; see `Signal.pixels`."""
        return self.facts.turn.upright(self.facts.signal.pixels(self.decoded))


class VideoReader(Closable):
    """The first video stream of a file. Use it in one thread at a time.

    Raises:
        VideoError: the file can't be read, or holds no video.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.container = open_input(path)
        try:
            with reading_errors(path):
                self.stream = video_stream(path, self.container)
                self.stream.thread_type = "AUTO"
                self._decoded = self._decode()
                self._first = next(self._decoded, None)
            if self._first is None:
                raise VideoError(f"{path}: there is no frame in it")
            self.facts = _facts(path, self.stream, self._first)
        except BaseException:
            self.container.close()
            raise

    def frames(self, skip: int = 0) -> Iterator[SourceFrame]:
        """All frames in the order in which they are shown, without the first `skip`; can be used once.

        Raises:
            VideoError: a frame can't be decoded, or is of another size or format than the first one.
        """
        first: Any = self._first
        frame, last, index = first, None, 0
        while frame is not None:
            time = _time(frame, last, self.facts)
            if (frame.width, frame.height, frame.format.name) != (first.width, first.height, first.format.name):
                raise VideoError(
                    f"{self.path}: frame {index} is {frame.width}x{frame.height} in {frame.format.name}, the first one "
                    f"{first.width}x{first.height} in {first.format.name}; cut the video there"
                )
            if index >= skip:
                yield SourceFrame(index, time, frame, self.facts)
            last = time
            index += 1
            with reading_errors(self.path, f"frame {index} "):
                frame = next(self._decoded, None)

    def _decode(self) -> Iterator[Any]:
        for packet in self.container.demux(self.stream):
            yield from packet.decode()

    def close(self) -> None:
        """Close the file."""
        self.container.close()


def open_input(path: Path) -> Any:
    """PyAV's container of a file.

    Raises:
        VideoError: it can't be opened.
        MissingExtraError: PyAV is not installed.
    """
    with needs("video"):
        import av
    with reading_errors(path):
        return av.open(str(path), metadata_errors="replace")


def video_stream(path: Path, container: Any) -> Any:
    """The first stream that is a video, rather than a cover.

    Raises:
        VideoError: there is none.
    """
    for stream in container.streams.video:
        if not is_cover(stream):
            return stream
    kinds = ", ".join(dict.fromkeys(stream.type for stream in container.streams)) or "nothing"
    raise VideoError(f"{path}: there is no video stream in it, only {kinds}")


def is_cover(stream: Any) -> bool:
    """Whether a stream is a picture that is attached to the file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


@contextmanager
def reading_errors(path: Path, what: str = "") -> Iterator[None]:
    """What PyAV raises in the block becomes a VideoError that names the file."""
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise VideoError(f"{path}: {what}can't be read ({reason})") from error


def _facts(path: Path, stream: Any, frame: Any) -> VideoFacts:
    notes = []
    turn = Turn.of_frame(frame)
    if turn is None:
        notes.append("its frames are turned by an angle that is no multiple of 90 degrees; that is left out")
        turn = Turn()
    if frame.interlaced_frame:
        notes.append("its frames are interlaced, and upscaled as they are; deinterlace the video first")
    try:
        signal = Signal.of_frame(frame)
    except VideoError as error:
        raise VideoError(f"{path}: {error}") from error
    aspect = Fraction(stream.sample_aspect_ratio or 0)
    rate = stream.average_rate or stream.guessed_rate or _RATE
    width, height = (frame.height, frame.width) if turn.transposed else (frame.width, frame.height)
    return VideoFacts(
        signal,
        width,
        height,
        Fraction(rate),
        Fraction(stream.time_base),
        1 / aspect if aspect and turn.transposed else aspect,
        turn,
        stream.frames or max(0, round((_duration(stream) or Fraction(stream.container.duration or 0, 10**6)) * rate)),
        _duration(stream),
        Light.of_frame(frame),
        (*notes, *unkept(frame)),
    )


def _duration(stream: Any) -> Fraction | None:
    """Seconds that a stream lasts, as it states itself."""
    if stream.duration:
        return Fraction(stream.duration * stream.time_base)
    if tag := _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        return Fraction(tag[1]) * 3600 + Fraction(tag[2]) * 60 + Fraction(tag[3])
    return None


def _time(frame: Any, last: int | None, facts: VideoFacts) -> int:
    """A frame's time; that of the one before and a frame's length where it has none or one that is not later."""
    time = frame.pts if frame.pts is not None else frame.dts
    if time is None:
        return 0 if last is None else last + facts.step
    return int(time) if last is None or time > last else last + 1
