"""What the numbers of a picture mean: curves, primaries and profiles, by format."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, features

from fxsr.errors import ImageError
from fxsr.images.icc import PROFILE, SRGB, Primaries, make_profile, profile_space
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.metadata.values import Metadata
from tests.imagefiles import flat, write_png, write_tiff

P3 = Primaries((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
LINEAR = (b"gAMA", struct.pack(">I", 100_000))
P3_PROFILE = make_profile("P3", P3, None)


def first(picture: Picture) -> list[float]:
    return [float(value) for value in picture.pixels[0, 0]]


def chrm(*points: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(100_000 * point) for point in points))


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


def cicp(*codes: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(codes)


def grey_profile(gamma: float) -> bytes:
    """A grey profile: an RGB one whose header and curve are those of grey."""
    rgb = make_profile("grey", SRGB, gamma)
    return rgb.replace(b"RGB XYZ ", b"GRAYXYZ ").replace(b"rTRC", b"kTRC")


WIDE = chrm(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (flat(60), [133]),
        (flat(60, 0, 255), [133, 0, 255]),
        (flat(60, 128), [133, 128]),
        (flat(60, 60, 60, 128), [133, 133, 133, 128]),
        (flat(15420, dtype=np.uint16), [34231]),
    ],
)
def test_linear_png_becomes_srgb_with_a_note(pixels: Any, expected: list[int], tmp_path: Path) -> None:
    picture = read_image(write_png(tmp_path / "a.png", pixels, LINEAR))
    assert first(picture) == expected
    assert picture.notes == ("gamma 1 (gAMA): converted to the curve of sRGB",)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 45455))],
        [(b"gAMA", struct.pack(">I", 45455)), chrm(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)],
        [LINEAR, (b"sRGB", b"\0")],
        [LINEAR, WIDE, (b"sRGB", b"\0")],
        [LINEAR, cicp(1, 13, 0, 1)],
        [iccp(P3_PROFILE), cicp(1, 13, 0, 1)],
    ],
    ids=["gAMA", "gAMA and cHRM", "sRGB first", "sRGB before cHRM", "cICP before gAMA", "cICP before iCCP"],
)
def test_png_that_says_srgb_is_left_as_it_is(chunks: list[tuple[bytes, bytes]], tmp_path: Path) -> None:
    picture = read_image(write_png(tmp_path / "a.png", flat(60, 200, 60), *chunks))
    assert first(picture) == [60, 200, 60]
    assert not picture.metadata.icc
    assert picture.notes == ()


@pytest.mark.parametrize(
    "chunks",
    [[WIDE], [WIDE, (b"gAMA", struct.pack(">I", 45455))], [cicp(12, 13, 0, 1)], [LINEAR, iccp(P3_PROFILE)]],
    ids=["cHRM", "cHRM and gAMA", "cICP", "iCCP before gAMA"],
)
@pytest.mark.parametrize("target", ["png", "jpg", "webp", "tif"])
def test_wide_primaries_become_a_profile_that_every_format_keeps(
    chunks: list[tuple[bytes, bytes]], target: str, tmp_path: Path
) -> None:
    picture = read_image(write_png(tmp_path / "a.png", flat(60, 200, 60), *chunks))
    assert first(picture) == [60, 200, 60]
    write_image(tmp_path / f"b.{target}", picture)
    assert profile_space(bytes(pyvips.Image.new_from_file(str(tmp_path / f"b.{target}")).get(PROFILE))) == "RGB"
    red, green, blue = first(read_image(tmp_path / f"b.{target}", srgb=True))
    assert max(red, blue) < 20  # this green lies outside sRGB
    assert green == pytest.approx(203, abs=3)


def test_data_is_not_converted(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", flat(60, 200, 60), LINEAR, WIDE)
    picture = read_image(path, as_data=True)
    assert first(picture) == [60, 200, 60]
    assert picture.notes == ()


@pytest.mark.parametrize(("codes", "name"), [((9, 16, 0, 1), "PQ"), ((9, 18, 0, 1), "HLG")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_high_dynamic_range_is_tone_mapped_with_a_note(
    codes: tuple[int, ...], name: str, dtype: Any, tmp_path: Path
) -> None:
    ramp = np.linspace(0, np.iinfo(dtype).max, 256).astype(dtype)[None, :, None].repeat(3, 2)
    picture = read_image(write_png(tmp_path / "a.png", ramp, cicp(*codes)))
    assert picture.notes == (f"high dynamic range ({name}, cICP): tone-mapped to standard range",)
    values = picture.pixels[0, :, 1] / np.iinfo(dtype).max
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0
    assert 0.95 < values[-1] <= 1
    reference_white = {"PQ": 148, "HLG": 191}[name]  # 58 % and 75 % of the signal (BT.2408 table 1)
    assert values[reference_white] == pytest.approx(0.88, abs=0.01)  # light of 0.75
    assert np.array_equal(picture.pixels[..., 0], picture.pixels[..., 2])  # greys stay grey
    assert profile_space(picture.metadata.icc) == "RGB"


def test_limited_range_is_stretched(tmp_path: Path) -> None:
    picture = read_image(write_png(tmp_path / "a.png", flat(16, 235, 126), cicp(1, 13, 0, 0)))
    assert first(picture) == [0, 255, 128]
    assert picture.notes == ("limited range (cICP): stretched to the full range",)


@pytest.mark.parametrize("codes", [(1, 9, 0, 1), (99, 13, 0, 1)])
def test_unknown_code_points_are_refused(codes: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.png: cICP states .* of ITU-T H\.273, which can't be converted; use sRGB"):
        read_image(write_png(tmp_path / "a.png", flat(1, 2, 3), cicp(*codes)))


@pytest.mark.parametrize("primaries", [[0.0] * 8, [0.3, 0.3, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3]])
def test_impossible_primaries_are_named(primaries: list[float], tmp_path: Path) -> None:
    picture = read_image(write_png(tmp_path / "a.png", flat(1, 2, 3), chrm(*primaries)))
    assert "(cHRM): colours are taken as sRGB" in picture.notes[0]


@pytest.mark.skipif(not features.check("avif"), reason="Pillow writes no AVIF here")
@pytest.mark.parametrize(
    ("codes", "expected", "profile", "note"),
    [
        ((1, 13), (200, 60, 30), False, ""),
        ((2, 2), (200, 60, 30), False, ""),
        ((12, 13), (200, 60, 30), True, ""),
        ((9, 14), (200, 60, 30), True, ""),
        ((1, 8), (229, 133, 96), False, "gamma 1 (nclx)"),
        ((9, 16), (251, 10, 1), True, "high dynamic range (PQ, nclx)"),
    ],
)
def test_code_points_of_avif_are_applied(
    codes: tuple[int, int], expected: tuple[int, ...], profile: bool, note: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.avif"
    Image.new("RGB", (24, 24), (200, 60, 30)).save(path, quality=100, subsampling="4:4:4")
    data = path.read_bytes()
    place = data.index(b"colrnclx") + 8
    path.write_bytes(data[:place] + struct.pack(">HH", *codes) + data[place + 4 :])
    picture = read_image(path)
    assert first(picture) == pytest.approx(expected, abs=3)
    assert bool(picture.metadata.icc) == profile
    assert bool(picture.notes) == bool(note)
    assert all(text.startswith(note) for text in picture.notes)


def test_adobe_rgb_of_cameras_becomes_a_profile(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.new("RGB", (16, 16), (200, 60, 30)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert profile_space(read_image(tmp_path / "a.jpg").metadata.icc) == "RGB"
    assert first(read_image(tmp_path / "a.jpg", srgb=True))[0] == pytest.approx(230, abs=3)


def test_primaries_of_tiff_become_a_profile(tmp_path: Path) -> None:
    tags = {318: ("r", [0.3127, 0.329]), 319: ("r", [0.68, 0.32, 0.265, 0.69, 0.15, 0.06])}
    path = write_tiff(tmp_path / "a.tif", flat(60, 200, 60), 2, tags)
    assert profile_space(read_image(path).metadata.icc) == "RGB"
    assert first(read_image(path, srgb=True))[0] < 20


def bmp(kind: int, middle: bytes = bytes(48), profile: bytes = b"") -> bytes:
    """An 8x8 BMP with a BITMAPV5HEADER."""
    pixels = bytes([30, 60, 200] * 64)
    header = struct.pack("<IiiHHIIiiII", 124, 8, 8, 1, 24, 0, len(pixels), 0, 0, 0, 0) + bytes(16)
    header += struct.pack("<I", kind) + middle + struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(profile), 0, 0, 138) + header + pixels + profile


def test_colours_of_bmp_headers_are_applied(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(bmp(0x4D424544, profile=P3_PROFILE))
    picture = read_image(tmp_path / "a.bmp")
    assert first(picture) == [200, 60, 30]
    assert picture.metadata.icc == P3_PROFILE
    points = b"".join(struct.pack("<3I", *(round(value * 2**30) for value in axis)) for axis in SRGB.to_xyz().T)
    (tmp_path / "b.bmp").write_bytes(bmp(0, points + struct.pack("<3I", *[1 << 16] * 3)))
    assert first(read_image(tmp_path / "b.bmp")) == [229, 133, 96]


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_a_profile_for_rgb_becomes_grey_of_srgb(suffix: str, dtype: Any, tmp_path: Path) -> None:
    value = np.iinfo(dtype).max // 4
    linear = make_profile("linear", SRGB, 1.0)
    if suffix == "png":
        write_png(tmp_path / "a.png", flat(value, dtype=dtype), iccp(linear))
    elif suffix == "tif":
        write_tiff(tmp_path / "a.tif", flat(value, dtype=dtype), 1, {34675: ("B", list(linear))})
    else:
        Image.new("L", (8, 8), 63).save(tmp_path / "a.jpg", quality=100, icc_profile=linear)
    picture = read_image(tmp_path / f"a.{suffix}")
    assert picture.pixels.shape[2] == 1
    assert picture.pixels[0, 0, 0] / np.iinfo(picture.pixels.dtype).max == pytest.approx(0.535, abs=0.01)
    assert not picture.metadata.icc
    assert picture.notes == ("its ICC profile is for RGB: its greys are converted to sRGB",)


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (grey_profile(2.2), "is for GRAY, not for RGB"),
        (bytes(pyvips.Image.profile_load("cmyk")), "is for CMYK, not for RGB"),
        (P3_PROFILE[:200], "can't be read"),
        (b"no profile", "can't be read"),
    ],
    ids=["grey", "cmyk", "cut", "text"],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_profile_that_does_not_fit_is_named_and_left_out(
    profile: bytes, why: str, suffix: str, tmp_path: Path
) -> None:
    if suffix == "png":
        write_png(tmp_path / "a.png", flat(200, 60, 30), iccp(profile))
    else:
        write_tiff(tmp_path / "a.tif", flat(200, 60, 30), 2, {34675: ("B", list(profile))})
    picture = read_image(tmp_path / f"a.{suffix}")
    assert picture.notes == (f"its ICC profile {why}: left out, and colours are taken as sRGB",)
    assert not picture.metadata.icc
    write_image(tmp_path / "b.png", picture)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", [".bmp", ".exr"])
def test_formats_without_profiles_get_colours_of_srgb(dtype: Any, suffix: str, tmp_path: Path) -> None:
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = (flat(60, 200, 60, dtype=np.float64) / 255 * peak).astype(dtype)
    notes = write_image(tmp_path / f"a{suffix}", Picture(pixels, Metadata(icc=P3_PROFILE)))
    assert any(note.startswith(f"{suffix} holds no ICC profile: colours are converted to sRGB by it") for note in notes)
    found = np.array(first(read_image(tmp_path / f"a{suffix}")))
    expected = np.array([0, 203, 11]) / 255
    assert found / (255 if suffix == ".bmp" else 1) == pytest.approx(expected, abs=0.01)


def test_a_grey_profile_is_applied_where_grey_becomes_rgb(tmp_path: Path) -> None:
    metadata = Metadata(icc=grey_profile(1.0))
    assert profile_space(grey_profile(1.0)) == "GRAY"
    picture = Picture(flat(60, size=32), metadata)
    assert write_image(tmp_path / "a.png", picture) == ()
    assert bytes(pyvips.Image.new_from_file(str(tmp_path / "a.png")).get(PROFILE)) == grey_profile(1.0)
    (note,) = write_image(tmp_path / "a.webp", picture)
    assert note == ".webp holds no grey ICC profile: colours are converted to sRGB by it"
    assert first(read_image(tmp_path / "a.webp")) == pytest.approx([133] * 3, abs=2)


def test_a_made_profile_is_one_that_littlecms_reads_as_the_primaries() -> None:
    opened = ImageCms.ImageCmsProfile(io.BytesIO(make_profile("Test", P3, None)))
    assert ImageCms.getProfileDescription(opened).strip() == "Test"
    transform = ImageCms.buildTransform(
        opened, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    found = ImageCms.applyTransform(Image.new("RGB", (1, 1), (150, 100, 80)), transform)
    expected = pyvips.Image.new_from_array(np.array([[[150, 100, 80]]], np.uint8)).copy(interpretation="srgb")
    expected = expected.icc_transform("srgb", input_profile="p3").numpy()[0, 0]
    assert found is not None
    assert np.abs(np.array(found.getpixel((0, 0))) - expected).max() <= 1
