"""What the channels and samples of a picture mean, mostly in TIFF files, which can say it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, features

from fxsr.errors import ImageError, StyleError
from fxsr.images.image import Picture, read_image
from fxsr.images.reading import open_rows
from fxsr.styles.style_map import StyleMap
from tests.imagefiles import ByteOrder, Tag, flat, write_png, write_tiff

UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED, CIELAB, ICCLAB = 0, 1, 2, 5, 8, 9


def extra(*kinds: int) -> dict[int, Tag]:
    return {338: ("H", kinds)}


def first(picture: Picture) -> list[float]:
    return [float(value) for value in picture.pixels[0, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("tags", [extra(UNSPECIFIED), {}], ids=["unspecified", "no tag"])
def test_a_fourth_channel_that_is_not_alpha_is_left_out_with_a_note(
    dtype: Any, tags: dict[int, Tag], tmp_path: Path
) -> None:
    pixels = flat(0.5, 0.25, 0.125, 0, dtype=np.float64)
    pixels = (pixels if dtype == np.float32 else pixels * np.iinfo(dtype).max).astype(dtype)
    picture = read_image(write_tiff(tmp_path / "a.tif", pixels, RGB, tags))
    assert np.array_equal(picture.pixels, pixels[..., :3])
    assert picture.notes == (
        "channel 4 of 4 is neither colour nor alpha by what the file says (ExtraSamples): left out",
    )


@pytest.mark.parametrize(
    ("photometric", "pixels", "kinds", "expected", "left_out"),
    [
        (RGB, flat(9, 8, 7, 6), (UNASSOCIATED,), [9, 8, 7, 6], ""),
        (RGB, flat(9, 8, 7, 5, 6), (UNSPECIFIED, UNASSOCIATED), [9, 8, 7, 6], "channel 4 of 5"),
        (RGB, flat(9, 8, 7, 6, 5), (UNASSOCIATED, UNSPECIFIED), [9, 8, 7, 6], "channel 5 of 5"),
        (RGB, flat(9, 8, 7, 6, 5, 4), (UNSPECIFIED,) * 3, [9, 8, 7], "channels 4, 5, 6 of 6"),
        (BLACK_IS_ZERO, flat(9, 8), (UNSPECIFIED,), [9], "channel 2 of 2"),
        (BLACK_IS_ZERO, flat(9, 8), (UNASSOCIATED,), [9, 8], ""),
        (BLACK_IS_ZERO, flat(9, 7, 8), (UNSPECIFIED, UNASSOCIATED), [9, 8], "channel 2 of 3"),
        (WHITE_IS_ZERO, flat(9, 8), (UNASSOCIATED,), [246, 8], ""),
        (RGB, flat(100, 30, 15, 128), (ASSOCIATED,), [199, 60, 30, 128], ""),
        (RGB, flat(100, 30, 15, 7, 128), (UNSPECIFIED, ASSOCIATED), [199, 60, 30, 128], "channel 4 of 5"),
        (BLACK_IS_ZERO, flat(100, 128), (ASSOCIATED,), [199, 128], ""),
        (RGB, flat(100, 30, 15, 0), (ASSOCIATED,), [0, 0, 0, 0], ""),
    ],
)
def test_only_channels_that_are_called_alpha_are_alpha(
    photometric: int, pixels: Any, kinds: tuple[int, ...], expected: list[int], left_out: str, tmp_path: Path
) -> None:
    picture = read_image(write_tiff(tmp_path / "a.tif", pixels, photometric, extra(*kinds)))
    assert first(picture) == expected
    assert bool(picture.notes) == bool(left_out)
    assert all(note.startswith(left_out) for note in picture.notes)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (flat(25700, 7710, 3855, 32896, dtype=np.uint16), [51199, 15360, 7680, 32896]),
        (flat(0.4, 0.1, 0.05, 0.5, dtype=np.float32), [0.8, 0.2, 0.1, 0.5]),
    ],
)
def test_colours_that_are_multiplied_by_alpha_are_divided_by_it(
    pixels: Any, expected: list[float], tmp_path: Path
) -> None:
    path = write_tiff(tmp_path / "a.tif", pixels, RGB, extra(ASSOCIATED))
    assert first(read_image(path)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("photometric", "pixels", "kinds", "message"),
    [
        (BLACK_IS_ZERO, flat(1, 2, 3), (UNSPECIFIED,) * 2, "has 3 grey channels, and nothing says which colours"),
        (BLACK_IS_ZERO, flat(1, 2, 3, 4, 5), (), "has 5 grey channels"),
        (CIELAB, flat(1, 2, 3, 4), (ASSOCIATED,), "multiplied by alpha, which can't be undone"),
        (WHITE_IS_ZERO, flat(1, 2), (ASSOCIATED,), "multiplied by alpha"),
        (SEPARATED, flat(1, 2, 3), (), "has 3 channels of inks or colours that are not known"),
        (RGB, flat(1, 2), (), "has 2 channels of inks or colours that are not known"),
        (32803, flat(1), (), "holds raw data of a camera"),
        (10, flat(1, 2, 3), (), "holds colours of kind 10"),
        (RGB, flat(1, 2, 3, dtype=np.complex64), (), "holds complex numbers"),
        (RGB, flat(1, 2, 3, dtype=np.uint64), (), "has samples of 64 bits"),
        (RGB, flat(1, 2, 3, dtype=np.int16), (), "holds signed or wide numbers"),
        (BLACK_IS_ZERO, flat(1, dtype=np.int32), (), "holds signed or wide numbers"),
    ],
)
def test_samples_of_unknown_meaning_are_refused_for_what_they_are(
    photometric: int, pixels: Any, kinds: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=rf"a\.tif: .*{message}") as caught:
        read_image(write_tiff(tmp_path / "a.tif", pixels, photometric, extra(*kinds) if kinds else {}))
    assert "\n" not in str(caught.value)


def test_separated_inks_that_are_not_cmyk_are_refused(tmp_path: Path) -> None:
    tags: dict[int, Tag] = {332: ("H", [2]), 338: ("H", [0, 0])}
    with pytest.raises(ImageError, match="has 6 channels of inks"):
        read_image(write_tiff(tmp_path / "a.tif", flat(1, 2, 3, 4, 5, 6), SEPARATED, tags))


LAB = (47.06, 55, 49)
"""A red, as L*, a*, b* with white D50."""


def lab_samples(photometric: int, dtype: Any) -> list[float]:
    light, a, b = LAB
    if dtype == np.float32:
        return [light, a, b]
    if dtype == np.uint8:
        return [round(light * 2.55), *((a + 128, b + 128) if photometric == ICCLAB else (a % 256, b % 256))]
    if photometric == ICCLAB:
        return [round(light * 652.8), (a + 128) * 256, (b + 128) * 256]
    return [round(light * 655.35), a * 256, b * 256]


@pytest.mark.parametrize("photometric", [CIELAB, ICCLAB])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [None, 0.25, 1.0])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lab_of_any_depth_becomes_srgb_and_keeps_alpha(
    photometric: int, dtype: Any, alpha: float | None, order: ByteOrder, tmp_path: Path
) -> None:
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    samples = lab_samples(photometric, dtype) + ([] if alpha is None else [round(alpha * peak, 2)])
    tags = {} if alpha is None else extra(UNASSOCIATED)
    path = write_tiff(tmp_path / "a.tif", flat(*samples, dtype=dtype), photometric, tags, order)
    picture = read_image(path)
    found = np.array(first(picture)) / np.iinfo(picture.pixels.dtype).max
    assert picture.pixels.dtype == (np.uint8 if dtype == np.uint8 else np.uint16)
    assert found[:3] * 255 == pytest.approx([200, 60, 30], abs=1.5)
    assert list(found[3:]) == pytest.approx([] if alpha is None else [alpha], abs=0.004)


def test_the_profile_of_a_lab_picture_is_not_kept(tmp_path: Path) -> None:
    profile: dict[int, Tag] = {34675: ("B", list(bytes(pyvips.Image.profile_load("p3"))))}
    picture = read_image(write_tiff(tmp_path / "a.tif", flat(120, 55, 49), CIELAB, profile))
    assert not picture.metadata.icc


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
def test_cmyk_of_any_depth_becomes_srgb_and_keeps_alpha(dtype: Any, alpha: bool, tmp_path: Path) -> None:
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    inks = np.array([0.2, 0.6, 0.8, 0.1, 0.5][: 4 + alpha]) * peak
    tags = extra(UNASSOCIATED) if alpha else {}
    picture = read_image(write_tiff(tmp_path / "a.tif", flat(*inks, dtype=dtype), SEPARATED, tags))
    found = np.array(first(picture)) / np.iinfo(picture.pixels.dtype).max
    red, green, blue = found[:3]
    assert red > 0.6 > green > blue
    assert list(found[3:]) == pytest.approx([0.5] if alpha else [], abs=0.004)
    assert picture.notes == ("has no ICC profile for its CMYK: converted as that of a usual press",)


def test_cmyk_with_a_profile_for_rgb_says_so(tmp_path: Path) -> None:
    profile: dict[int, Tag] = {34675: ("B", list(bytes(pyvips.Image.profile_load("p3"))))}
    picture = read_image(write_tiff(tmp_path / "a.tif", flat(1, 2, 3, 4), SEPARATED, profile))
    assert picture.notes == (
        "its ICC profile is for RGB, not for CMYK: left out, and colours are converted as those of a usual press",
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_in_0_to_1_are_read_as_they_are(dtype: Any, channels: int, order: ByteOrder, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((9, 7, channels)).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", pixels, RGB if channels == 3 else BLACK_IS_ZERO, order=order)
    picture = read_image(path)
    assert np.array_equal(picture.pixels, pixels.astype(np.float32))
    assert picture.notes == ()


@pytest.mark.parametrize("values", [(60, 200), (60.5, 200.25), (0, 65535), (-5.5, -20), (0, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_whose_white_is_not_known_are_refused(values: tuple[float, float], dtype: Any, tmp_path: Path) -> None:
    pixels = np.array(values, dtype)[None, :, None].repeat(8, 0)
    with pytest.raises(
        ImageError, match=r"a\.tif: its values reach from .*, and nothing says which are black and white"
    ):
        read_image(write_tiff(tmp_path / "a.tif", pixels, BLACK_IS_ZERO))


def test_floats_somewhat_beyond_white_are_kept_with_a_note(tmp_path: Path) -> None:
    pixels = np.array([-0.25, 0.5, 3.5], np.float32)[None, :, None]
    picture = read_image(write_tiff(tmp_path / "a.tif", pixels, BLACK_IS_ZERO))
    assert np.array_equal(picture.pixels, pixels)
    assert picture.notes == ("its values reach from -0.25 to 3.5; the range 0..1 is black to white",)


IMAGEJ = b"ImageJ=1.53t\nunit=\nmin=0.0\nmax=255.0\n\0"


@pytest.mark.parametrize(
    "tags",
    [
        {340: ("f", [0.0]), 341: ("f", [255.0])},
        {280: ("H", [0]), 281: ("H", [255])},
        {270: ("s", IMAGEJ)},
    ],
    ids=["SMaxSampleValue", "MaxSampleValue", "ImageJ"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint32])
def test_a_stated_range_is_scaled_with_a_note(tags: dict[int, Tag], dtype: Any, tmp_path: Path) -> None:
    picture = read_image(write_tiff(tmp_path / "a.tif", flat(51, dtype=dtype), BLACK_IS_ZERO, tags))
    assert picture.pixels.dtype == np.float32
    assert first(picture) == pytest.approx([0.2])
    assert "the file says that 0 is black and 255 white: scaled to 0..1" in picture.notes
    assert len(picture.notes) == (2 if 270 in tags else 1)  # ImageJ's description is left out, with a note too


def test_a_range_of_fractions_is_only_what_occurs(tmp_path: Path) -> None:
    tags: dict[int, Tag] = {340: ("f", [0.125]), 341: ("f", [0.75])}
    assert first(read_image(write_tiff(tmp_path / "a.tif", flat(0.5, dtype=np.float32), 1, tags))) == [0.5]


def test_integers_of_32_bits_become_floats_with_a_note(tmp_path: Path) -> None:
    picture = read_image(write_tiff(tmp_path / "a.tif", flat(2**31, 0, 2**32 - 1, dtype=np.uint32), RGB))
    assert first(picture) == pytest.approx([0.5, 0, 1])
    assert picture.notes == ("integers of 32 bits are read as floats, where 4294967295 is white",)


@pytest.mark.parametrize(
    ("pixels", "tags", "expected"),
    [
        (flat(60), {}, 195),
        (flat(60, dtype=np.uint16), {}, 65475),
        (flat(0.25, dtype=np.float32), {}, 0.75),
        (flat(0.25, dtype=np.float64), {}, 0.75),
        (flat(51, dtype=np.int16), {341: ("h", [255])}, 0.8),
        (flat(51, dtype=np.uint32), {341: ("I", [255])}, 0.8),
    ],
)
def test_where_white_is_zero_values_are_inverted(
    pixels: Any, tags: dict[int, Tag], expected: float, tmp_path: Path
) -> None:
    path = write_tiff(tmp_path / "a.tif", pixels, WHITE_IS_ZERO, tags)
    assert first(read_image(path)) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.float32, 60.5), (np.float64, 60.5), (np.int16, -60), (np.int32, 70000), (np.uint32, 60)]
)
def test_data_may_have_any_range(dtype: Any, value: float, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", flat(value, dtype=dtype), BLACK_IS_ZERO, {341: ("f", [255.0])})
    picture = read_image(path, as_data=True)
    assert first(picture) == [value]
    assert picture.notes == ()
    with pytest.raises(StyleError, match=r"must lie in 0\.\.1"):
        StyleMap.read(path)


def test_log_luv_is_light_beyond_white(tmp_path: Path) -> None:
    white = np.array([0.95047, 1.0, 1.08883], np.float32)
    light = pyvips.Image.new_from_array(np.stack([white * 0.18, white, white * 4])[None].repeat(8, 0))
    light.copy(interpretation="xyz").write_to_file(str(tmp_path / "a.tif"))
    picture = read_image(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.float32
    expected = [1.055 * level ** (1 / 2.4) - 0.055 for level in (0.18, 1, 4)]
    assert picture.pixels[0, :, 1] == pytest.approx(expected, abs=0.02)
    assert picture.notes[0].startswith("its values reach from 0 to 1.8")


@pytest.mark.parametrize(
    ("pixels", "key", "transparent"),
    [
        (flat(300, dtype=np.uint16), (300,), True),
        (flat(301, dtype=np.uint16), (300,), False),
        (flat(1, 300, 5, dtype=np.uint16), (1, 300, 5), True),
        (flat(1, 300, 6, dtype=np.uint16), (1, 300, 5), False),
        (flat(60), (60,), True),
        (flat(60, 60, 60), (60, 60, 60), True),
    ],
)
def test_the_transparent_colour_of_png_becomes_alpha(
    pixels: Any, key: tuple[int, ...], transparent: bool, tmp_path: Path
) -> None:
    path = write_png(tmp_path / "a.png", pixels, (b"tRNS", struct.pack(f">{len(key)}H", *key)))
    picture = read_image(path)
    assert picture.pixels.shape[2] == pixels.shape[2] + 1
    assert first(picture)[-1] == (0 if transparent else np.iinfo(pixels.dtype).max)
    assert first(picture)[:-1] == [float(value) for value in pixels[0, 0]]


def test_deep_avif_reaches_white(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(flat(65535, 65535, 65535, dtype=np.uint16, size=24)).copy(
        interpretation="rgb16"
    )
    try:
        image.heifsave(str(tmp_path / "a.avif"), compression="av1", bitdepth=10, lossless=True)
    except pyvips.Error:
        pytest.skip("libvips writes no AVIF here")
    assert first(read_image(tmp_path / "a.avif")) == [65535] * 3


@pytest.mark.skipif(not features.check("avif"), reason="Pillow writes no AVIF here")
def test_avif_colours_that_are_multiplied_by_alpha_are_divided_by_it(tmp_path: Path) -> None:
    # Pillow multiplies them
    Image.new("RGBA", (24, 24), (100, 30, 15, 128)).save(
        tmp_path / "a.avif", quality=100, subsampling="4:4:4", alpha_premultiplied=True
    )
    assert b"prem" in (tmp_path / "a.avif").read_bytes()
    assert first(read_image(tmp_path / "a.avif")) == pytest.approx([100, 30, 15, 128], abs=4)


def test_float64_is_read_row_by_row(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).random((1500, 400, 3))
    rows = open_rows(write_tiff(tmp_path / "a.tif", pixels, RGB))
    bands = list(rows.bands)
    assert len(bands) > 1
    assert np.array_equal(np.concatenate(bands), pixels.astype(np.float32))
