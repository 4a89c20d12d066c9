"""What videos hold besides frames is in the output, or a note tells what is not; and ten seconds of frames."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.upscale.upscaler import Upscaler, load
from fxsr.runtime.video.carried import Light
from fxsr.runtime.video.kinds import WRITABLE_VIDEOS
from fxsr.runtime.video.options import VideoOptions
from fxsr.runtime.video.upscale import VideoRequest, upscale_video
from tests.support import TINY, fxsr_cli, golden_checkpoint
from tests.videofiles import moving_photos, packets_of, read_frames, read_pixels, rgb_frame, write_clip

av = pytest.importorskip("av")

LIGHT = Light(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329)), (0.0001, 1000), (1000, 400))
"""Of a display with the primaries of DCI-P3."""
BRIGHT = ("master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)", "max-cll=1000,400")
"""The same for x265."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(), path)
    return path


@pytest.fixture(scope="module")
def upscaler(model: Path) -> Iterator[Upscaler]:
    with load(model) as opened:
        yield opened


def upscale(upscaler: Upscaler, source: Path, target: Path, encoder: str | None = None, **settings: str) -> list[str]:
    """Upscale, and return the notes."""
    request = VideoRequest(source, target, options=VideoOptions(encoder, tuple(settings.items())))
    return list(upscale_video(request, upscaler, lambda done, total: None).notes)


def write_film(path: Path, cover: bool = False) -> None:
    """A video in HDR with sound in AAC, chapters and tags."""
    with av.open(str(path), "w") as made:
        made.metadata.update({"title": "A film", "mood": "calm"})
        stream = made.add_stream("libx265", 12, {"x265-params": ":".join(["log-level=none", *BRIGHT])})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.color_primaries = stream.codec_context.colorspace = 9
        stream.codec_context.color_trc, stream.codec_context.color_range = 16, 1
        audio = made.add_stream("aac", rate=48000)
        audio.layout = "mono"
        audio.metadata.update({"language": "deu", "title": "Speech"})
        names = {"Beginning": (0, 200), "End": (200, 500)}
        made.set_chapters(
            [
                {"id": number, "start": begin, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                for number, (name, (begin, end)) in enumerate(names.items())
            ]
        )
        if cover:
            picture = io.BytesIO()
            PIL.Image.new("RGB", (8, 8)).save(picture, "PNG")
            made.add_attachment("cover.png", "image/png", picture.getvalue())
        for index, photo in enumerate(moving_photos(6, 48, 64)):
            frame = rgb_frame(photo).reformat(format="yuv420p10le")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
        for index in range(24):
            wave = np.sin(np.arange(1024) / 20 + index).astype(np.float32)[None] / 3
            played = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            played.sample_rate, played.pts, played.time_base = 48000, 1024 * index, Fraction(1, 48000)
            made.mux(audio.encode(played))
        made.mux(audio.encode(None))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    write_film(path, cover=True)
    return path


def about(path: Path) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """A file's tags, titles of chapters, and tags of its sound."""
    with av.open(str(path)) as container:
        tags = {name.lower(): text for name, text in container.metadata.items()}
        return (
            tags,
            [each["metadata"]["title"] for each in container.chapters()],
            dict(container.streams.audio[0].metadata),
        )


def test_ten_seconds_with_sound_are_what_run_makes_of_their_frames(model: Path, tmp_path: Path) -> None:
    photos = moving_photos(100, 16, 24)
    times = [100 * index + index % 3 for index in range(100)]
    write_clip(tmp_path / "clip.mkv", [rgb_frame(photo) for photo in photos], times=times, seconds=10)
    for index, photo in enumerate(photos):
        write_image(tmp_path / "frames" / f"{index:03d}.png", Picture(photo))
    options = ("-e", model, "--t", "0.6", "--device", "cpu")
    for arguments in ((tmp_path / "clip.mkv", "--encoder", "ffv1"), (tmp_path / "frames",)):
        done = fxsr_cli("run", *arguments, *options)
        assert done.returncode == 0, done.stderr
    output = tmp_path / "clip_x4.mkv"
    made = read_pixels(output)
    assert len(made) == 100
    for index, pixels in enumerate(made):
        np.testing.assert_array_equal(pixels, read_image(tmp_path / "frames_x4" / f"{index:03d}.png").pixels)
    assert [round(1000 * frame.time) for frame in read_frames(output)] == times
    assert packets_of(output, "audio") == packets_of(tmp_path / "clip.mkv", "audio")


@pytest.mark.parametrize("suffix", sorted(WRITABLE_VIDEOS - {".webm"}))
def test_every_format_is_written_with_its_sound_chapters_and_tags_or_a_note(
    suffix: str, film: Path, upscaler: Upscaler, tmp_path: Path
) -> None:
    output = tmp_path / f"film{suffix}"
    notes = "\n".join(upscale(upscaler, film, output, preset="ultrafast"))
    assert len(read_frames(output)) == 6
    tags, chapters, sound = about(output)
    transport = suffix in (".ts", ".mts", ".m2ts")
    if not transport:  # which adds a header to each packet
        assert [data for _, data in packets_of(output, "audio")] == [data for _, data in packets_of(film, "audio")]
    assert len(packets_of(output, "audio")) == len(packets_of(film, "audio"))
    kept = {
        "its chapters": chapters == ["Beginning", "End"],
        "tags are left out (": tags.get("title") == "A film" and tags.get("mood") == "calm",
        "tags of stream 1 are left out (language)": sound.get("language") == "deu",  # QuickTime knows "ger" alone
        "tags of stream 1 are left out (title)": "Speech" in (sound.get("title"), sound.get("name")),
    }
    assert kept == {what: what not in notes for what in kept}
    assert kept["its chapters"] is not transport
    assert "(video, png) is left out: a cover" in notes
    assert "data" not in notes


def test_webm_takes_no_aac(film: Path, upscaler: Upscaler, tmp_path: Path) -> None:
    notes = upscale(upscaler, film, tmp_path / "film.webm")
    assert len(read_frames(tmp_path / "film.webm")) == 6
    assert "stream 1 (audio, aac) is left out: .webm files can't hold it" in notes


def test_the_chapter_track_of_an_mp4_file_is_no_stream_that_is_left_out(upscaler: Upscaler, tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4")
    notes = upscale(upscaler, tmp_path / "film.mp4", tmp_path / "out.mp4", preset="ultrafast")
    assert [note for note in notes if not note.startswith("encoded by")] == []
    assert about(tmp_path / "out.mp4")[1:] == about(tmp_path / "film.mp4")[1:]


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        ("libx264", {"preset": "ultrafast", "x264-params": "ref=1"}),
        ("libx265", {"x265-params": "log-level=none"}),
        ("libsvtav1", {}),
    ],
)
def test_encoders_are_told_of_hdr(
    encoder: str, settings: dict[str, str], film: Path, upscaler: Upscaler, tmp_path: Path
) -> None:
    assert Light.of_frame(read_frames(film)[0]) == LIGHT
    upscale(upscaler, film, tmp_path / "out.mkv", encoder, **settings)
    light = Light.of_frame(read_frames(tmp_path / "out.mkv")[0])
    assert light is not None
    np.testing.assert_allclose(light.primaries, LIGHT.primaries, atol=2e-5)  # AV1 counts in 1/65536
    np.testing.assert_allclose(light.luminance, LIGHT.luminance, atol=1e-4)
    assert light.content == LIGHT.content


def test_a_note_tells_of_hdr_that_an_encoder_does_not_take(film: Path, upscaler: Upscaler, tmp_path: Path) -> None:
    notes = upscale(upscaler, film, tmp_path / "out.mkv", "ffv1")
    assert "HDR metadata (mastering display, content light) is left out: ffv1 can't be given it" in notes


def test_frames_of_cameras_that_carry_exif_are_read_and_turned(upscaler: Upscaler, tmp_path: Path) -> None:
    """PyAV can't list what such frames carry."""
    (photo,) = moving_photos(1)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    jpeg = io.BytesIO()
    PIL.Image.fromarray(photo).save(jpeg, "JPEG", exif=exif)
    with av.open(str(tmp_path / "camera.mkv"), "w") as made:
        stream: Any = made.add_mux_stream("mjpeg", rate=10, width=32, height=24)
        for index in range(2):
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 10), index, index
            made.mux(packet)
    upscale(upscaler, tmp_path / "camera.mkv", tmp_path / "out.mkv", "ffv1")
    (frame, _) = read_frames(tmp_path / "out.mkv")
    assert (frame.width, frame.height) == (96, 128)
    made = frame.to_ndarray(format="rgb24").astype(int)
    right, wrong = (np.abs(made - upscaler(np.ascontiguousarray(np.rot90(photo, turns)))).mean() for turns in (-1, 1))
    assert right < wrong / 2  # the source is a JPEG


def test_a_note_tells_of_a_file_that_was_cut_off(upscaler: Upscaler, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    write_clip(whole, [rgb_frame(photo) for photo in moving_photos(24, 16, 24)], sound=False)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    told = {path: [note for note in upscale(upscaler, path, tmp_path / "out.mkv", "ffv1") if "cut off" in note]
            for path in (whole, cut)}  # fmt: skip
    assert told[whole] == []
    (note,) = told[cut]
    assert re.fullmatch(r"its last frame is shown at 0\.\d\d s of the 1\.00 s that it states; was it cut off\?", note)
