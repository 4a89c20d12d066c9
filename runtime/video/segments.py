"""The folder next to an unfinished video, in which its segments wait: a run that was interrupted goes on with them.

A segment is a file of encoded frames that appears whole or not at all. `run.json` says what they were made from, so
that segments of different sources, models or settings are never joined.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from fxsr.errors import FxsrError, VideoError
from fxsr.files import atomic_path, remove_unfinished

T = TypeVar("T")

_NAME = re.compile(r"(\d{8})-(\d+)\.segment")
_ABOUT = "run.json"
_LENGTH = 8
"""Bytes of the number at the beginning of a segment: how long its head is."""


class Head(msgspec.Struct):
    """What is known of a segment besides its packets."""

    times: list[int]
    """When each frame is shown, in units of the source's time base, in order."""
    order: list[int]
    """For each packet, the number of its frame in the segment."""
    notes: list[str] = []
    lr_psnr: float | None = None
    """The smallest of its frames."""
    state: bytes = b""
    """What the style maps of the next frames depend on; see `fxsr.runtime.video.maps`."""


class EncodedFrame(msgspec.Struct, array_like=True):
    """One packet of an encoder."""

    data: bytes
    is_key: bool


@dataclass(frozen=True)
class Segment:
    """A finished segment."""

    path: Path
    first: int
    """Number of its first frame in the video."""
    count: int

    def head(self) -> Head:
        """What is known of it.

        Raises:
            VideoError: the file is damaged.
        """
        with self._opened() as file:
            return self._head(file)

    def packets(self) -> list[EncodedFrame]:
        """Its packets, in the order in which they are decoded.

        Raises:
            VideoError: the file is damaged.
        """
        with self._opened() as file:
            self._head(file)
            return self._decoded(file.read(), list[EncodedFrame])

    def _opened(self) -> BinaryIO:
        return self.path.open("rb")

    def _head(self, file: BinaryIO) -> Head:
        return self._decoded(file.read(int.from_bytes(file.read(_LENGTH), "little")), Head)

    def _decoded(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.msgpack.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise VideoError(f"{self.path}: this segment is damaged; remove it and those after it") from error


class SegmentFolder:
    """The segments of one output.

    Args:
        target: the video that they become.
        about: what they are made from, by name; JSON holds all values.
        resume: go on with the segments that are there.

    Raises:
        VideoError: there are segments, and `resume` is not given or they were made from something else.
        FxsrError: the folder can't be written.
    """

    def __init__(self, target: Path, about: Mapping[str, object], *, resume: bool) -> None:
        self.path = target.with_name(f"{target.name}.segments")
        about = json.loads(json.dumps(about))
        remove_unfinished(self.path)
        segments = self._found()
        if segments and not resume:
            raise VideoError(
                f"an earlier run left {sum(segment.count for segment in segments)} frames in {self.path}; "
                "give --resume to go on with them, or remove that folder"
            )
        if segments and (changed := _difference(self._about(), about)):
            raise VideoError(f"the frames in {self.path} were made with another {changed}; remove that folder")
        self.segments = segments
        if not segments:
            with atomic_path(self.path / _ABOUT) as temporary:
                temporary.write_text(json.dumps(about, indent=2))

    @property
    def frames(self) -> int:
        """How many frames are done."""
        return sum(segment.count for segment in self.segments)

    def add(self, head: Head, packets: list[EncodedFrame]) -> None:
        """Write the next segment.

        Raises:
            FxsrError: it can't be written.
        """
        segment = Segment(self.path / f"{self.frames:08d}-{len(head.times)}.segment", self.frames, len(head.times))
        encoded = msgspec.msgpack.encode(head)
        with atomic_path(segment.path) as temporary, temporary.open("wb") as file:
            file.write(len(encoded).to_bytes(_LENGTH, "little") + encoded)
            file.write(msgspec.msgpack.encode(packets))
        self.segments.append(segment)

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Remove the folder if no segment is in it."""
        if not self.segments:
            self.remove()

    def _about(self) -> dict[str, object]:
        with suppress(OSError, ValueError):
            about = json.loads((self.path / _ABOUT).read_text())
            if isinstance(about, dict):
                return about
        return {}

    def _found(self) -> list[Segment]:
        """The segments that follow each other from the first frame on."""
        found: list[Segment] = []
        done = 0
        for path in sorted(_files(self.path)):
            if (name := _NAME.fullmatch(path.name)) and int(name[1]) == done:
                found.append(Segment(path, done, int(name[2])))
                done += int(name[2])
        return found


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.iterdir()
    elif folder.exists():
        raise FxsrError(f"{folder} is in the way; rename it")


def _difference(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """The first name whose value changed; "" if none did."""
    return next((name for name in new if old.get(name) != new[name]), "")
