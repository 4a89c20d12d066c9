"""Parts of video upscaling: conversion of colours, kinds of files, times of packets, and maps over time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import StyleError, UsageError, VideoError
from fxsr.images.image import Picture, write_image
from fxsr.runtime.video.carried import Light, unkept
from fxsr.runtime.video.colour import SampleLayout, Signal
from fxsr.runtime.video.joining import decoding_times
from fxsr.runtime.video.kinds import is_video
from fxsr.runtime.video.maps import open_styles
from fxsr.runtime.video.options import parse_settings
from fxsr.runtime.video.reading import SourceFrame, Turn, VideoFacts
from fxsr.runtime.video.segments import EncodedFrame, Head, SegmentFolder
from fxsr.styles.automatic.registry import AutomaticStyle
from tests.videofiles import frame_of_planes, moving_photos, planes_of, random_planes

pytest.importorskip("av")

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Of red and blue, in ITU-R BT.709, BT.601, SMPTE 240M and BT.2020."""
TOLERANCE = 2e-6
"""float32 against float64, for values in 0..1."""


def rgb_of(planes: list[NDArray[Any]], bits: int, full: bool, matrix: int) -> NDArray[np.float64]:
    """The standards' formula in float64."""
    y, cb, cr = (plane.astype(np.float64) for plane in planes)
    step = 2 ** (bits - 8)
    if full:
        luma, blue, red = y / (2**bits - 1), (cb - 128 * step) / (2**bits - 1), (cr - 128 * step) / (2**bits - 1)
    else:
        luma, blue, red = (
            (y - 16 * step) / (219 * step),
            (cb - 128 * step) / (224 * step),
            (cr - 128 * step) / (224 * step),
        )
    of_red, of_blue = WEIGHTS[matrix]
    r, b = luma + 2 * (1 - of_red) * red, luma + 2 * (1 - of_blue) * blue
    return np.stack([r, (luma - of_red * r - of_blue * b) / (1 - of_red - of_blue), b], -1)


def signal_of(name: str, matrix: int, full: bool) -> Signal:
    return Signal(SampleLayout.parse(name), matrix, full)


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv444p", "yuv444p10le", "yuv444p12le"])
def test_colours_follow_the_formula_of_their_matrix_and_range(name: str, full: bool, matrix: int) -> None:
    signal = signal_of(name, matrix, full)
    planes = random_planes(signal.layout, 1)
    expected = rgb_of(planes, signal.layout.bits, full, matrix)
    assert np.abs(signal.pixels(frame_of_planes(planes, name)) - expected).max() < TOLERANCE


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv444p", "yuv444p10le", "yuv444p16le", "gray", "gray10le", "yuvj444p", "gbrp10le"])
def test_samples_come_back_exactly(name: str, full: bool) -> None:
    signal = signal_of(name, 1, full)
    planes = random_planes(signal.layout, 2)
    back = signal.frame(signal.pixels(frame_of_planes(planes, name)), signal.layout.carrier)
    for given, got in zip(planes, planes_of(back), strict=True):
        np.testing.assert_array_equal(got, given)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv440p", "yuv411p", "yuv410p"])
def test_even_colours_survive_subsampling_exactly(name: str) -> None:
    signal = signal_of(name, 6, False)
    planes = [np.full_like(plane, 100 + 7 * index) for index, plane in enumerate(random_planes(signal.layout, 3))]
    back = signal.frame(signal.pixels(frame_of_planes(planes, name)), name)
    for given, got in zip(planes, planes_of(back), strict=True):
        np.testing.assert_array_equal(got, given)


def test_chroma_lies_on_every_second_column_and_between_rows() -> None:
    signal = signal_of("yuv420p", 1, True)
    luma = np.full((8, 12), 128, np.uint8)
    y, x = np.mgrid[:4, :6]
    ramp = (128 + 4 * x + 8 * y).astype(np.uint8)  # rises by 2 per luma column and by 4 per luma row
    red = signal.pixels(frame_of_planes([luma, np.full((4, 6), 128, np.uint8), ramp], "yuv420p"))[..., 0]
    chroma = (red - 128 / 255) * 255 / (2 * (1 - 0.2126))
    rows, columns = np.mgrid[1:7, :11]
    np.testing.assert_allclose(chroma[1:7, :11], 2 * columns + 4 * (rows - 0.5), atol=1e-3)


def test_chroma_is_reduced_to_where_it_lies() -> None:
    signal = signal_of("yuv420p10le", 1, False)
    y, x = np.mgrid[:16, :24]
    grey = 0.4 + 0.004 * x + 0.006 * y
    made = planes_of(signal.frame(np.stack([grey + 0.1, grey, grey], 2).astype(np.float32), "yuv420p10le"))
    luma = grey + 0.2126 * 0.1
    expected = (grey + 0.1 - luma) / (2 * (1 - 0.2126)) * 896 + 512
    assert np.abs(made[2] - expected[::2, ::2]).max() <= 0.5
    np.testing.assert_array_equal(made[0], (luma * 876 + 64 + 0.5).astype(int))


def test_transparency_comes_back_exactly() -> None:
    signal = signal_of("yuva444p10le", 1, False)
    planes = [*random_planes(signal.layout, 5), np.arange(768, dtype=np.uint16).reshape(24, 32)]
    pixels = signal.pixels(frame_of_planes(planes, "yuva444p10le"))
    assert pixels.shape == (24, 32, 4)
    for given, got in zip(planes, planes_of(signal.frame(pixels, "yuva444p10le")), strict=True):
        np.testing.assert_array_equal(got, given)


@pytest.mark.parametrize("name", ["nv12", "p010le", "yuyv422", "rgb24", "bgra", "rgb48le", "bgr0"])
def test_interleaved_samples_are_taken_apart_exactly(name: str) -> None:
    layout = SampleLayout.parse(name)
    planes = random_planes(layout, 6) + random_planes(layout, 7)[: int(layout.alpha)]
    planar = frame_of_planes(planes, layout.carrier)
    signal = Signal.of_frame(planar)
    planar.color_range = signal.range_code
    interleaved = planar.reformat(format=name, src_color_range=signal.range_code, dst_color_range=signal.range_code)
    assert interleaved.format.name == name
    np.testing.assert_array_equal(signal.pixels(interleaved), signal.pixels(planar))


def test_what_a_stream_leaves_open_is_what_players_assume() -> None:
    import av

    found = [Signal.of_frame(av.VideoFrame(*size, "yuv420p")) for size in ((640, 480), (720, 576), (1280, 720))]
    assert [(signal.matrix, signal.primaries, signal.full_range) for signal in found] == [
        (6, 6, False),
        (5, 5, False),
        (1, 1, False),
    ]


def test_matrices_without_a_formula_are_refused() -> None:
    import av

    frame = av.VideoFrame(64, 48, "yuv420p")
    frame.colorspace = 10
    with pytest.raises(VideoError, match=r"matrix is 10 of ITU-T H\.273"):
        Signal.of_frame(frame)


def test_display_matrices_turn_frames_as_players_do() -> None:
    one = 65536
    pixels = np.arange(6).reshape(2, 3, 1)
    by_90 = Turn.parse(np.array([0, one, 0, -one, 0, 0, 0, 0, 1 << 30], np.int32).tobytes())
    by_180 = Turn.parse(np.array([-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30], np.int32).tobytes())
    assert by_90 is not None
    assert by_180 is not None
    np.testing.assert_array_equal(by_90.upright(pixels), np.rot90(pixels, -1))  # clockwise
    np.testing.assert_array_equal(by_180.upright(pixels), np.rot90(pixels, 2))
    assert Turn.parse(np.array([46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30], np.int32).tobytes()) is None


HEADS = {
    "mp4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", True),
    "matroska": (b"\x1aE\xdf\xa3" + bytes(20), True),
    "avi": (b"RIFF\0\0\0\0AVI LIST", True),
    "transport stream": ((b"\x47" + bytes(187)) * 5, True),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", False),
    "avif": (b"\0\0\0\x18ftypavis\0\0\0\0avisavif", False),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), False),
    "wave": (b"RIFF\0\0\0\0WAVEfmt ", False),
    "text that begins with G": (b"G" * 40, False),
}


@pytest.mark.parametrize("name", HEADS)
def test_videos_are_known_by_their_first_bytes(name: str, tmp_path: Path) -> None:
    data, expected = HEADS[name]
    (tmp_path / "photo.png").write_bytes(data)
    assert is_video(tmp_path / "photo.png") is expected


def test_packets_are_decoded_in_rising_order_and_none_too_late() -> None:
    heads = [Head([0, 10, 25, 30], [0, 3, 1, 2]), Head([70, 71, 90], [0, 2, 1])]
    shown = [time for head in heads for time in head.times]
    decoded = decoding_times(shown, heads)
    packets = [shown[index] for index in (0, 3, 1, 2, 4, 6, 5)]
    assert decoded == sorted(set(decoded))
    assert all(when <= shown for when, shown in zip(decoded, packets, strict=True))


def test_settings_are_pairs() -> None:
    assert parse_settings(["crf=18", "x264-params=keyint=5"]) == (("crf", "18"), ("x264-params", "keyint=5"))
    for words in (["crf"], ["crf="], ["=3"], ["crf=1", "crf=2"]):
        with pytest.raises(UsageError):
            parse_settings(words)


def test_segments_are_only_joined_with_what_they_were_made_with(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    folder = SegmentFolder(target, {"style": "0.5"}, resume=False)
    folder.add(Head([0, 1], [0, 1], state=b"x"), [EncodedFrame(b"a", True), EncodedFrame(b"b", False)])
    with pytest.raises(VideoError, match=r"left 2 frames in .*out\.mkv\.segments; give --resume"):
        SegmentFolder(target, {"style": "0.5"}, resume=False)
    with pytest.raises(VideoError, match="made with another style"):
        SegmentFolder(target, {"style": "0.6"}, resume=True)
    again = SegmentFolder(target, {"style": "0.5"}, resume=True)
    assert (again.frames, again.segments[0].head().state) == (2, b"x")
    assert again.segments[0].packets()[1] == EncodedFrame(b"b", False)
    again.segments[0].path.write_bytes(b"\3" + bytes(20))
    with pytest.raises(VideoError, match="damaged"):
        again.segments[0].head()


def test_a_folder_gives_a_map_for_each_frame_and_no_more(tmp_path: Path) -> None:
    for index in range(3):
        write_image(tmp_path / f"{index}.png", Picture(np.full((4, 4, 1), 50 * index, np.uint8)))
    frame = np.zeros((4, 4, 3), np.uint8)
    styles = open_styles(tmp_path, skip=1)
    values = [style.values[0, 0] for style in (styles.of(frame, 0), styles.of(frame, 0)) if style]
    np.testing.assert_allclose(values, [50 / 255, 100 / 255], atol=1e-6)
    with pytest.raises(StyleError, match=r"3 style maps in .*a map for each frame"):
        styles.of(frame, 0)


def test_automatic_maps_are_smoothed_in_time_begin_anew_at_cuts_and_can_be_continued() -> None:
    photos = moving_photos(4, 64, 64)
    dark = (photos[0] // 6).astype(np.uint8)
    style = AutomaticStyle(("texture",))
    alone = [style.of(photo).values for photo in (*photos, dark)]
    styles = open_styles(style)
    smooth = [styles.of(photo, index / 25) for index, photo in enumerate(photos)]
    share = 1 - np.exp(-1 / 25 / 0.2)
    expected = alone[0]
    for index in range(1, 4):
        expected = expected + np.float32(share) * (alone[index] - expected)
    assert smooth[3] is not None
    np.testing.assert_allclose(smooth[3].values, expected, atol=1e-6)
    after_cut = styles.of(dark, 4 / 25)
    assert after_cut is not None
    np.testing.assert_array_equal(after_cut.values, alone[4])
    first = open_styles(style)
    for index in range(2):
        first.of(photos[index], index / 25)
    second = open_styles(style, 2, first.state())
    second.of(photos[2], 2 / 25)
    continued = second.of(photos[3], 3 / 25)
    assert continued is not None
    np.testing.assert_array_equal(continued.values, smooth[3].values)


class Carried(bytes):
    """A piece of side data, as PyAV gives it."""

    type: SimpleNamespace


def carrying(**pieces: bytes) -> SimpleNamespace:
    """A stand-in for a frame that carries these pieces."""
    listed = []
    for name, data in pieces.items():
        piece = Carried(data)
        piece.type = SimpleNamespace(name=name)
        listed.append(piece)
    return SimpleNamespace(side_data=listed)


def test_notes_tell_what_frames_carry_unless_it_only_served_the_source() -> None:
    frame = carrying(A53_CC=b"x", DOVI_METADATA=b"x", DOVI_RPU_BUFFER=b"x", SEI_UNREGISTERED=b"x", MOTION_VECTORS=b"x")
    assert unkept(frame) == (
        "closed captions, which its frames carry, can't be kept",
        "Dolby Vision metadata, which its frames carry, can't be kept",
    )


def test_a_note_tells_of_damaged_frames() -> None:
    facts = VideoFacts(signal_of("yuv420p", 1, False), 32, 24, Fraction(24), Fraction(1, 24), Fraction(0), Turn(), 1)
    for is_corrupt in (False, True):
        decoded = SimpleNamespace(side_data=[], is_corrupt=is_corrupt)
        assert bool(SourceFrame(0, 0, decoded, facts).notes) is is_corrupt


def test_a_display_that_is_not_fully_described_is_not_stated() -> None:
    places = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)
    ratios = [(place, 50000) for place in places] + [(1, 10000), (10000000, 10000)]
    whole = np.array([number for ratio in ratios for number in ratio] + [1, 1], np.int32)
    light = Light.of_frame(carrying(MASTERING_DISPLAY_METADATA=whole.tobytes()))
    assert light == Light(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329)), (0.0001, 1000))
    assert light.setting("libx265") == (
        "x265-params",
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
    )
    assert light.setting("ffv1") is None
    whole[-1] = 0  # no luminance
    content = np.array([1000, 400], np.uint32).tobytes()
    part = carrying(MASTERING_DISPLAY_METADATA=whole.tobytes(), CONTENT_LIGHT_LEVEL=content)
    assert Light.of_frame(part) == Light(content=(1000, 400))
    assert Light.of_frame(carrying(MASTERING_DISPLAY_METADATA=whole.tobytes())) is None
