"""Joins the segments of a video into one file, with the sound, subtitles and chapters of its source.

Packets of the source's other streams are copied as they are. The times of frames are the source's; when each packet is
decoded is computed here, since every segment had an encoder of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from fxsr.errors import VideoError, first_line
from fxsr.files import atomic_path
from fxsr.runtime.video.containers import add_copied
from fxsr.runtime.video.encoding import EncoderChoice, Picture, configure
from fxsr.runtime.video.reading import VideoFacts, is_cover, open_input, reading_errors, video_stream
from fxsr.runtime.video.segments import Head, SegmentFolder

_OF_THE_FILE = frozenset({"encoder", "major_brand", "minor_version", "compatible_brands"})
"""Tags that describe the source's file rather than what it shows."""
_OF_TRACKS = ("language", "title")
"""Tags of streams that players show."""
_LANGUAGE_OF_TAG = re.compile(r"-[a-z]{3}$")
"""FFmpeg gives each tag of MP4 files that has a language twice, once with its name."""
_OF_THE_PICTURE = ("language", "title", "handler_name", "comment")
"""Tags of the video stream that are kept; others tell of its encoding."""


def join(
    source: Path, target: Path, folder: SegmentFolder, choice: EncoderChoice, picture: Picture, facts: VideoFacts
) -> list[str]:
    """Write the output, whole or not at all.

    Returns:
        What could not be kept, one line each.

    Raises:
        VideoError: the source or a segment can't be read, or the output's format refuses something.
        FxsrError: the file can't be written.
    """
    import av

    notes: list[str] = []
    with atomic_path(target) as temporary, open_input(source) as given:
        try:
            with av.open(str(temporary), "w") as made:
                streams = _add_streams(given, made, choice, picture, facts, notes)
                own = video_stream(source, given)
                copied = [stream for stream in given.streams if stream.index in streams and stream.index != own.index]
                frames = _frames(folder, facts, streams[own.index])
                pending = next(frames, None)
                for packet in _packets(given, copied, source):
                    while pending is not None and _when(pending) <= _when(packet):
                        made.mux(pending)
                        pending = next(frames, None)
                    packet.stream = streams[packet.stream.index]
                    made.mux(packet)
                while pending is not None:
                    made.mux(pending)
                    pending = next(frames, None)
            notes += _lost(given, temporary, {index: stream.index for index, stream in streams.items()})
        except (av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise VideoError(f"{target} can't be written ({reason}); its frames are kept in {folder.path}") from error
    return notes


def _add_streams(
    given: Any, made: Any, choice: EncoderChoice, picture: Picture, facts: VideoFacts, notes: list[str]
) -> dict[int, Any]:
    """The streams of the output, by the number of the source's stream, in the order of the source."""
    from av.stream import Discard

    made.metadata.update({name: text for name, text in given.metadata.items() if name.lower() not in _OF_THE_FILE})
    own = video_stream(Path(given.name), given)
    streams: dict[int, Any] = {}
    for stream in given.streams:
        if stream.index == own.index:
            added = made.add_stream(choice.name, picture.rate, dict(choice.settings))
            configure(added, choice, picture)
            added.time_base = facts.time_base
            added.metadata.update({name: own.metadata[name] for name in _OF_THE_PICTURE if name in own.metadata})
        else:
            if stream.type == "data" and stream.discard == Discard.all:
                continue  # the chapters of an MP4 file, which are copied as such
            what = f"stream {stream.index} ({stream.type}, {stream.name or 'unknown'})"
            if stream.type == "video":
                notes.append(f"{what} is left out: {'a cover' if is_cover(stream) else 'only the first is upscaled'}")
                continue
            added = add_copied(stream, made)
            if added is None:
                notes.append(f"{what} is left out: {Path(made.name).suffix} files can't hold it")
                continue
            added.metadata.update(_renamed(stream.metadata))
        added.disposition = stream.disposition
        streams[stream.index] = added
    made.set_chapters(given.chapters())
    return streams


def _renamed(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a stream. What FFmpeg reads from MP4 files as `name`, it writes if it is called `title`."""
    return {"title" if name == "name" and "title" not in tags else name: text for name, text in tags.items()}


def _lost(given: Any, path: Path, numbers: dict[int, int]) -> list[str]:
    """What a finished output lacks of what the source says about itself, one line each.

    Args:
        numbers: of the output's streams, by the source's.
    """
    with open_input(path) as made:
        kind = f"{path.suffix} files can't hold them"
        lost = []
        if len(made.chapters()) < len(given.chapters()):
            lost.append(f"its chapters are left out: {kind}")
        if names := sorted(_tags(given.metadata) - _tags(made.metadata)):
            lost.append(f"tags are left out ({', '.join(names)}): {kind}")
        for number, own in numbers.items():
            if own < len(made.streams) and made.streams[own].type == given.streams[number].type:
                before, after = _renamed(given.streams[number].metadata), _renamed(made.streams[own].metadata)
                missing = [name for name in _OF_TRACKS if before.get(name, "und") not in ("und", after.get(name))]
                if missing:
                    lost.append(f"tags of stream {number} are left out ({', '.join(missing)}): {kind}")
        return lost


def _tags(metadata: dict[str, str]) -> set[str]:
    """Names of a file's tags."""
    return {_LANGUAGE_OF_TAG.sub("", name.lower()) for name in metadata} - _OF_THE_FILE


def _packets(given: Any, streams: list[Any], source: Path) -> Iterator[Any]:
    """The packets of some streams of the source."""
    if not streams:
        return
    demuxed = given.demux(*streams)
    while True:
        with reading_errors(source):
            packet = next(demuxed, None)
        if packet is None:
            return
        if packet.dts is not None:  # the last of each stream is empty
            yield packet


def _frames(folder: SegmentFolder, facts: VideoFacts, stream: Any) -> Iterator[Any]:
    """The packets of all segments."""
    import av

    heads = [segment.head() for segment in folder.segments]
    shown = [time for head in heads for time in head.times]
    decoded = iter(decoding_times(shown, heads))
    for segment, head in zip(folder.segments, heads, strict=True):
        for index, encoded in zip(head.order, segment.packets(), strict=True):
            packet = av.Packet(encoded.data)
            number = segment.first + index
            packet.stream, packet.time_base = stream, facts.time_base
            packet.pts, packet.dts = shown[number], next(decoded)
            packet.duration = (shown[number + 1] if number + 1 < len(shown) else shown[number] + facts.step) - shown[
                number
            ]
            packet.is_keyframe = encoded.is_key
            yield packet


def decoding_times(shown: list[int], heads: list[Head]) -> list[int]:
    """When each packet is decoded: rising from packet to packet, and none later than its frame is shown.

    Args:
        shown: when each frame is shown, rising.
        heads: of all segments; their `order` says which frame each packet holds.
    """
    order: list[int] = []
    for head in heads:
        first = len(order)
        order += [first + index for index in head.order]
    delay = max((place - frame for place, frame in enumerate(order)), default=0)
    step = max(1, (shown[delay] - shown[0]) // delay) if delay else 0
    return [shown[0] - (delay - place) * step for place in range(delay)] + shown[: len(shown) - delay]


def _when(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)
