"""Makes short videos for tests, with sound and subtitles, and reads them back sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.runtime.video.colour import SampleLayout

HEIGHT, WIDTH = 24, 32
RATE = Fraction(24)


def moving_photos(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[NDArray[np.uint8]]:
    """RGB frames of soft colours that move, (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [
        np.stack([np.sin((x + 2 * index) / 5), np.cos((y - index) / 4), np.sin((x + y + index) / 6)], 2)
        for index in range(count)
    ]
    return [(wave * 70 + 120).astype(np.uint8) for wave in waves]


def random_planes(layout: SampleLayout, seed: int, height: int = HEIGHT, width: int = WIDTH) -> list[NDArray[Any]]:
    """Samples of a frame, of colours that RGB has, one array per plane."""
    rng = np.random.default_rng(seed)
    peak = 2**layout.bits - 1
    low, high = round(0.4 * peak), round(0.6 * peak)
    sizes = [(height, width), *[(-(-height // layout.down), -(-width // layout.across))] * 2]
    return [rng.integers(low, high, size).astype(layout.dtype) for size in sizes[: 1 if layout.model == "grey" else 3]]


def frame_of_planes(planes: Sequence[NDArray[Any]], pixel_format: str) -> Any:
    """PyAV's frame with these samples."""
    import av

    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pixel_format)
    for plane, values in zip(frame.planes, planes, strict=True):
        padded = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        padded[:, : plane.width] = values
        plane.update(padded.tobytes())
    return frame


def planes_of(frame: Any) -> list[NDArray[Any]]:
    """The stored samples of a frame whose format is planar."""
    dtype = SampleLayout.parse(frame.format.name).dtype
    return [np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]


def rgb_frame(pixels: NDArray[np.uint8]) -> Any:
    """PyAV's frame with these pixels, (H, W, 3)."""
    import av

    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")


def write_clip(
    path: Path,
    frames: Sequence[Any],
    codec: str = "ffv1",
    settings: Mapping[str, str] | None = None,
    times: Sequence[int] | None = None,
    sound: bool = True,
    stated: Mapping[str, Any] | None = None,
    seconds: float = 0.5,
) -> None:
    """Write a video of PyAV frames, with sound and a subtitle.

    Args:
        times: when each frame is shown, in milliseconds; None: at `RATE`.
        stated: what the video stream states, such as `colorspace`.
        seconds: of sound.
    """
    import av

    first = frames[0]
    with av.open(str(path), "w") as made:
        stream = made.add_stream(codec, RATE, dict(settings or {}))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000) if times else 1 / RATE
        for name, value in (stated or {}).items():
            setattr(stream.codec_context, name, value)
        if sound:
            audio = made.add_stream("pcm_s16le", rate=8000)
            assert isinstance(audio, av.AudioStream)
            audio.layout = "mono"
            audio.metadata["language"] = "deu"
            text = made.add_mux_stream("subrip")
            made.add_attachment("letters.ttf", "font/ttf", b"a font")
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = (times[index], Fraction(1, 1000)) if times else (index, 1 / RATE)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
        if not sound:
            return
        samples = np.random.default_rng(4).integers(-9999, 9999, (1, int(8000 * seconds))).astype(np.int16)
        played = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        played.sample_rate, played.pts = 8000, 0
        made.mux(audio.encode(played))
        made.mux(audio.encode(None))
        subtitle = av.Packet(b"A line of text")
        subtitle.stream, subtitle.time_base = text, Fraction(1, 1000)
        subtitle.pts = subtitle.dts = 40
        subtitle.duration = 200
        made.mux(subtitle)


def read_frames(path: Path) -> list[Any]:
    """The decoded frames of a video."""
    import av

    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def read_pixels(path: Path) -> list[NDArray[Any]]:
    """The frames of a video of RGB, (H, W, 3)."""
    return [frame.to_ndarray(format="rgb24") for frame in read_frames(path)]


def packets_of(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """Time in seconds and bytes of each packet of the first stream of a kind, such as "audio"."""
    import av

    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        return [(float((packet.pts or 0) * packet.time_base), bytes(packet)) for packet in packets]
