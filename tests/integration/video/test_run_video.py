"""`fxsr run` on videos, frame by frame against `fxsr run` on their frames."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import FxsrError, MissingExtraError, StyleError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.upscale.upscaler import Upscaler, load
from fxsr.runtime.video.colour import SampleLayout, Signal
from fxsr.runtime.video.options import VideoOptions
from fxsr.runtime.video.upscale import VideoRequest, VideoResult, upscale_video
from fxsr.styles.automatic.registry import AutomaticStyle
from tests.support import ROOT, ended, fxsr_cli, fxsr_process, wait_until
from tests.videofiles import (
    frame_of_planes,
    moving_photos,
    packets_of,
    planes_of,
    random_planes,
    read_frames,
    read_pixels,
    rgb_frame,
    write_clip,
)

av = pytest.importorskip("av")

LOSSLESS = ("--encoder", "ffv1")


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return load()


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    return moving_photos(6)


@pytest.fixture
def clip(tmp_path: Path, photos: list[NDArray[np.uint8]]) -> Path:
    """A video of RGB without loss, with sound and a subtitle, whose frames are shown at uneven times."""
    path = tmp_path / "clip.mkv"
    write_clip(path, [rgb_frame(photo) for photo in photos], times=(0, 40, 90, 120, 160, 300))
    return path


KILLED = """
import os, signal, sys, time
from pathlib import Path
import cli
from fxsr.runtime.upscale.upscaler import load
from fxsr.runtime.video.options import VideoOptions
from fxsr.runtime.video.upscale import VideoRequest, upscale_video
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.options import StyleOptions

source, target = map(Path, sys.argv[1:])

def progress(done, total):
    while done == 4 and not list(Path(f"{target}.segments").glob("0*.segment")):
        time.sleep(0.01)
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

style, options = AutomaticStyle(("texture",)), VideoOptions("ffv1", (), segment=2)
upscale_video(VideoRequest(source, target, style, StyleOptions(None, 1, (0.0, 1.0), 0), options), load(), progress)
"""
"""A program that kills itself when four frames are upscaled and two of them are kept."""


def run(*arguments: str | Path) -> dict[str, Any]:
    """The record of one video from `fxsr run --json`."""
    done = fxsr_cli("run", "--json", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    (record,) = json.loads(done.stdout)
    assert isinstance(record, dict)
    return record


def upscale(
    upscaler: Upscaler,
    source: Path,
    target: Path,
    t_map: Any = None,
    encoder: str = "ffv1",
    settings: tuple[tuple[str, str], ...] = (),
) -> VideoResult:
    """The same without a process of its own."""
    request = VideoRequest(source, target, t_map, options=VideoOptions(encoder, settings))
    return upscale_video(request, upscaler, lambda done, total: None)


def failure(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and message of a run that fails."""
    done = fxsr_cli("run", *arguments)
    (line,) = done.stderr.splitlines()
    return done.returncode, line


def test_every_frame_is_what_run_makes_of_it_and_sound_and_subtitles_are_copied(
    clip: Path, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    record = run(clip, "--t", "0.6", *LOSSLESS)
    output = tmp_path / "clip_x4.mkv"
    assert record["output"] == str(output)
    assert (record["size"], record["frames"], record["frames_per_second"] > 0) == ([128, 96], 6, True)
    assert "encoded by ffv1" in record["notes"]
    for index, photo in enumerate(photos):
        write_image(tmp_path / "frames" / f"{index}.png", Picture(photo))
    assert fxsr_cli("run", tmp_path / "frames", "--t", "0.6").returncode == 0
    made = read_pixels(output)
    assert len(made) == 6
    for index, pixels in enumerate(made):
        np.testing.assert_array_equal(pixels, read_image(tmp_path / "frames_x4" / f"{index}.png").pixels)
    for kind in ("audio", "subtitle"):
        assert packets_of(output, kind) == packets_of(clip, kind)
    assert [frame.time for frame in read_frames(output)] == [frame.time for frame in read_frames(clip)]
    with av.open(str(output)) as container:
        assert container.streams.audio[0].language == "deu"
        assert container.streams.attachments[0].data == b"a font"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "clip_x4.mkv", "frames", "frames_x4"]


@pytest.mark.parametrize(
    ("pixel_format", "stated"),
    [
        ("yuv420p", {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}),
        ("yuv422p", {"colorspace": 6, "color_range": 2, "color_primaries": 5, "color_trc": 6}),
        ("yuv420p10le", {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}),
        ("gray10le", {"color_range": 2}),
    ],
)
def test_depth_range_matrix_and_curve_are_kept_and_nothing_is_rounded_in_between(
    pixel_format: str, stated: dict[str, int], upscaler: Upscaler, tmp_path: Path
) -> None:
    layout = SampleLayout.parse(pixel_format)
    source = [random_planes(layout, seed) for seed in range(3)]
    write_clip(tmp_path / "in.mkv", [frame_of_planes(planes, pixel_format) for planes in source], stated=stated)
    upscale(upscaler, tmp_path / "in.mkv", tmp_path / "out.mkv")
    frames = read_frames(tmp_path / "out.mkv")
    assert [(frame.format.name, frame.width, frame.height) for frame in frames] == [(pixel_format, 128, 96)] * 3
    names = {"colorspace": 6, "color_primaries": 6} if pixel_format == "gray10le" else {}
    for name, value in (stated | names).items():
        assert getattr(frames[0], name) == value, name
    signal_of = Signal(layout, frames[0].colorspace, frames[0].color_range == 2)
    for planes, frame in zip(source, frames, strict=True):
        expected = signal_of.frame(upscaler(signal_of.pixels(frame_of_planes(planes, pixel_format))), pixel_format)
        for given, got in zip(planes_of(expected), planes_of(frame), strict=True):
            np.testing.assert_array_equal(got, given)


def test_the_default_encoder_is_named_and_close_to_lossless(clip: Path, upscaler: Upscaler, tmp_path: Path) -> None:
    done = fxsr_cli("run", clip, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "note: encoded by libx264 crf=16" in done.stderr
    for what in ("stream 2 (subtitle, srt)", "stream 3 (attachment,"):
        assert re.search(rf"{re.escape(what)}.* is left out: \.mp4 files can't hold it", done.stderr)
    assert "128x96, 6 frames," in done.stdout
    assert "frames/s)" in done.stdout
    for pixels, made in zip(read_pixels(clip), read_pixels(tmp_path / "out.mp4"), strict=True):
        assert np.abs(upscaler(pixels).astype(int) - made).mean() < 3
    times = [round(frame.time, 3) for frame in read_frames(tmp_path / "out.mp4")]
    assert times == [0.0, 0.04, 0.09, 0.12, 0.16, 0.3]


def test_a_run_that_was_killed_is_resumed_and_ends_as_if_it_had_not_been(clip: Path, tmp_path: Path) -> None:
    style = ("--t-map", "auto:texture", "--segment", "2", *LOSSLESS)
    run(clip, "-o", tmp_path / "whole.mkv", *style)
    output = tmp_path / "parts.mkv"
    folder = tmp_path / "parts.mkv.segments"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(clip), str(output)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not output.exists()
    status, line = failure(clip, "-o", output, *style)
    assert status == 1
    assert "frames in" in line
    assert "give --resume to go on with them" in line
    assert "made with another style" in failure(clip, "-o", output, *style, "--resume", "--t-scale", "0.5")[1]
    left = {path: path.stat().st_mtime_ns for path in folder.glob("*.segment")}
    status, line = failure(clip, "-o", output, "--resume", "--encoder", "libx264")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.segment")} == left
    record = run(clip, "-o", output, *style, "--resume")
    assert record["frames"] == 6
    assert not folder.exists()
    for pixels, expected in zip(read_pixels(output), read_pixels(tmp_path / "whole.mkv"), strict=True):
        np.testing.assert_array_equal(pixels, expected)
    assert packets_of(output, "video") == packets_of(tmp_path / "whole.mkv", "video")


def test_a_run_that_is_stopped_keeps_finished_segments_alone(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clip_x4.mkv.segments"
    with ended(fxsr_process("run", clip, "--segment", "1", *LOSSLESS)) as process:
        wait_until(lambda: list(folder.glob("*.segment")), process)
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode in (0, 130)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names in (["clip.mkv", "clip_x4.mkv"], ["clip.mkv", "clip_x4.mkv.segments"])
    if folder.exists():
        assert all(path.suffix in (".segment", ".json") for path in folder.iterdir())


def test_a_video_or_a_folder_of_maps_gives_each_frame_its_map(
    clip: Path, photos: list[NDArray[np.uint8]], upscaler: Upscaler, tmp_path: Path
) -> None:
    maps = [np.full((24, 32), 40 * index, np.uint8) for index in range(6)]
    for index, each in enumerate(maps):
        each[:, :16] = 255 - each[:, :16]
        write_image(tmp_path / "maps" / f"{index:03d}.png", Picture(each[..., None]))
    write_clip(tmp_path / "maps.mkv", [rgb_frame(np.repeat(each[..., None], 3, 2)) for each in maps], sound=False)
    upscale(upscaler, clip, tmp_path / "by-video.mkv", tmp_path / "maps.mkv")
    run(clip, "-o", tmp_path / "by-folder.mkv", "--t-map", tmp_path / "maps", *LOSSLESS)
    by_video, by_folder = read_pixels(tmp_path / "by-video.mkv"), read_pixels(tmp_path / "by-folder.mkv")
    for index, (photo, each) in enumerate(zip(photos, maps, strict=True)):
        np.testing.assert_array_equal(by_folder[index], upscaler(photo, t=each))
        assert np.abs(by_video[index].astype(int) - by_folder[index]).max() <= 1  # luminance is summed in float32
    (tmp_path / "maps" / "005.png").unlink()
    with pytest.raises(StyleError, match="there are 5 style maps in"):
        upscale(upscaler, clip, tmp_path / "short.mkv", tmp_path / "maps")
    assert not (tmp_path / "short.mkv.segments").exists()


def test_a_folder_is_searched_for_a_map_of_the_videos_name_which_serves_all_frames(
    clip: Path, photos: list[NDArray[np.uint8]], upscaler: Upscaler, tmp_path: Path
) -> None:
    t_map = np.zeros((24, 32), np.uint8)
    t_map[:12] = 255
    write_image(tmp_path / "maps" / "clip.png", Picture(t_map[..., None]))
    write_image(tmp_path / "maps" / "other.png", Picture(255 - t_map[..., None]))
    run(clip, "--t-map", tmp_path / "maps", "-o", tmp_path / "out.mkv", *LOSSLESS)
    for photo, made in zip(photos, read_pixels(tmp_path / "out.mkv"), strict=True):
        np.testing.assert_array_equal(made, upscaler(photo, t=t_map))


def test_automatic_maps_begin_with_that_of_the_first_frame(
    clip: Path, photos: list[NDArray[np.uint8]], upscaler: Upscaler, tmp_path: Path
) -> None:
    upscale(upscaler, clip, tmp_path / "out.mkv", AutomaticStyle(("texture",)))
    first = upscaler(photos[0], t=AutomaticStyle(("texture",)).of(photos[0]))
    np.testing.assert_array_equal(read_pixels(tmp_path / "out.mkv")[0], first)


def test_turned_frames_become_upright_and_their_pixels_shape_is_kept(upscaler: Upscaler, tmp_path: Path) -> None:
    photos = moving_photos(2)
    path = tmp_path / "turned.mov"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264rgb", 24, {"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "rgb24"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90)
        for index, photo in enumerate(photos):
            frame = av.VideoFrame.from_ndarray(photo, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    quarter_turns = round(read_frames(path)[0].rotation / 90)
    assert quarter_turns % 2
    upscale(upscaler, path, tmp_path / "upright.mov", encoder="libx264rgb", settings=(("qp", "0"),))
    for photo, frame in zip(photos, read_frames(tmp_path / "upright.mov"), strict=True):
        np.testing.assert_array_equal(
            frame.to_ndarray(format="rgb24"), upscaler(np.ascontiguousarray(np.rot90(photo, quarter_turns)))
        )
        assert frame.rotation == 0
    with av.open(str(tmp_path / "upright.mov")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


def test_files_and_encoders_that_do_not_serve_are_named(clip: Path, upscaler: Upscaler, tmp_path: Path) -> None:
    sound, cut = tmp_path / "sound.mkv", tmp_path / "cut.mkv"
    with av.open(str(clip)) as given, av.open(str(sound), "w") as made:
        stream = made.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    cut.write_bytes(clip.read_bytes()[:300])
    before = sorted(path.name for path in tmp_path.iterdir())
    for source, encoder, settings, message in (
        (sound, "ffv1", (), "there is no video stream in it, only audio"),
        (cut, "ffv1", (), r"cut\.mkv"),
        (clip, "nonsense", (), "there is no video encoder 'nonsense' in PyAV's FFmpeg"),
        (clip, "flac", (), "there is no video encoder 'flac'"),
        (clip, "libx264", (("crfx", "3"),), "libx264 has no option 'crfx'"),
        (clip, "libx264", (("crf", "much"),), "can't write frames of 128x96 in yuv444p"),
    ):
        with pytest.raises(FxsrError, match=message):
            upscale(upscaler, source, tmp_path / "out.mkv", encoder=encoder, settings=settings)
    with pytest.raises(FxsrError, match=r"\.webm files can't hold what libx264 writes"):
        upscale(upscaler, clip, tmp_path / "out.webm", encoder="libx264")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_options_that_are_not_for_videos_are_refused(clip: Path, tmp_path: Path) -> None:
    for arguments, message in {
        ("-o", str(tmp_path / "out.png")): "a video can't be written to",
        ("-o", str(clip)): "the output would replace the input",
        ("--quality", "90"): "--quality and --lossless are for images",
        ("--ray", "local"): "--ray upscales images alone",
        ("--encoder-option", "crf"): "it must be NAME=VALUE",
    }.items():
        assert message in failure(clip, *arguments)[1]


def test_a_missing_pyav_names_the_extra(
    clip: Path, upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"av is not installed.*\[video\]"):
        upscale(upscaler, clip, tmp_path / "out.mkv")


def test_images_and_videos_are_done_in_one_run_and_planned_without_writing(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    write_clip(clip, [rgb_frame(photo) for photo in moving_photos(6)])
    write_image(tmp_path / "photo.png", Picture(moving_photos(1)[0]))
    planned = json.loads(
        fxsr_cli("run", clip, tmp_path / "photo.png", "-o", tmp_path / "out", "--dry-run", "--json").stdout
    )
    assert [(Path(record["output"]).name, record["size"], record["tiles"]) for record in planned] == [
        ("photo.png", [128, 96], 1),
        ("clip.mkv", [128, 96], 6),
    ]
    assert not (tmp_path / "out").exists()
    done = fxsr_cli(
        "run", clip, tmp_path / "photo.png", "-o", tmp_path / "out", "--outscale", "2", "--faithful", "10", "--json"
    )
    records = json.loads(done.stdout)
    assert [record["size"] for record in records] == [[64, 48], [64, 48]]
    assert all(record["lr_psnr"] > 10 for record in records)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.mkv", "photo.png"]
    skipped = fxsr_cli("run", clip, "-o", tmp_path / "out", "--skip-existing")
    assert "exists, skipped" in skipped.stdout
