from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from fxsr.errors import FxsrError, ImageError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.metadata.values import Metadata
from fxsr.images.reading import open_rows
from fxsr.images.resample import resampled
from fxsr.images.rows import Rows
from fxsr.images.writing import write_rows
from tests.support import SAMPLE

RNG = np.random.default_rng(0)
LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]


def noise(channels: int, dtype: Any = np.uint8, size: tuple[int, int] = (19, 31)) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return RNG.random((*size, channels)).astype(dtype)
    return RNG.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel(suffix: str, channels: int, tmp_path: Path) -> None:
    pixels = noise(channels)
    assert write_image(tmp_path / f"a{suffix}", Picture(pixels)) == ()
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_and_tiff_keep_16_bit_and_alpha(suffix: str, channels: int, dtype: Any, tmp_path: Path) -> None:
    pixels = noise(channels, dtype)
    assert write_image(tmp_path / f"a{suffix}", Picture(pixels)) == ()
    read = read_image(tmp_path / f"a{suffix}").pixels
    assert read.dtype == dtype
    assert np.array_equal(read, pixels)


def test_float_tiff_is_kept(tmp_path: Path) -> None:
    pixels = noise(3, np.float32)
    write_image(tmp_path / "a.tif", Picture(pixels))
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize(("suffix", "channels"), [(".jpg", 1), (".jpg", 3), (".webp", 3), (".webp", 4)])
def test_lossy_formats_come_close(suffix: str, channels: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64)[:, None, None].repeat(64, 1).repeat(channels, 2).astype(np.uint8)
    write_image(tmp_path / f"a{suffix}", Picture(ramp))
    read = read_image(tmp_path / f"a{suffix}").pixels
    assert read.shape == ramp.shape
    assert np.abs(read.astype(int) - ramp).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_16_bit_is_reduced_with_a_note_where_it_must_be(suffix: str, tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)[..., None].repeat(8, 0).repeat(8, 1).repeat(3, 2)
    notes = write_image(tmp_path / f"a{suffix}", Picture(ramp * 257), quality=100)
    assert "reduced to uint8" in notes[0]
    assert np.abs(read_image(tmp_path / f"a{suffix}").pixels.astype(int) - ramp).max() <= 4


def test_alpha_is_laid_on_white_with_a_note_where_it_must_be(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    notes = write_image(tmp_path / "a.bmp", Picture(pixels))
    assert "holds no alpha" in notes[0]
    assert np.array_equal(read_image(tmp_path / "a.bmp").pixels, np.full((16, 16, 3), 255))


def tagged(**fields: Any) -> pyvips.Image:
    image = pyvips.Image.new_from_array(noise(3, size=(40, 60))).copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Artist", "Jane (Jane, ASCII, 5 components, 5 bytes)")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", PROFILE)
    for name, value in fields.items():
        image.set_type(pyvips.GValue.gint_type, name, value)
    return image


def _profile() -> bytes:
    srgb = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    return bytes(srgb.get("icc-profile-data"))


PROFILE = _profile()


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
def test_icc_profile_survives(source: str, target: str, tmp_path: Path) -> None:
    tagged().write_to_file(str(tmp_path / f"a.{source}"))
    write_image(tmp_path / f"b.{target}", read_image(tmp_path / f"a.{source}"))
    assert bytes(pyvips.Image.new_from_file(str(tmp_path / f"b.{target}")).get("icc-profile-data")) == PROFILE


@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
@pytest.mark.parametrize("target", ["jpg", "png", "webp"])
def test_exif_survives_with_orientation_honoured_once(source: str, target: str, tmp_path: Path) -> None:
    image = tagged(orientation=6)
    image.write_to_file(str(tmp_path / f"a.{source}"))
    picture = read_image(tmp_path / f"a.{source}")
    assert picture.pixels.shape == (60, 40, 3)  # turned
    write_image(tmp_path / f"b.{target}", picture)
    written = pyvips.Image.new_from_file(str(tmp_path / f"b.{target}"))
    assert "Jane" in written.get("exif-ifd0-Artist")
    assert (written.get("orientation") if written.get_typeof("orientation") else 1) == 1
    assert (written.width, written.height) == (40, 60)
    assert read_image(tmp_path / f"b.{target}").pixels.shape == (60, 40, 3)  # not turned again


EXIF = {315: "Jane", 272: "Camera"}
DETAILS = {0x829A: 0.008, 0x9003: "2022:01:13 10:00:00"}
PLACE = {1: "N", 2: (48.0, 30.0, 0.0)}


@pytest.mark.parametrize("source", ["jpg", "tif"])
@pytest.mark.parametrize("target", ["jpg", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(20, 20), (300, 200)], ids=["one strip", "strips"])
def test_exif_survives_to_and_from_tiff(
    source: str, target: str, dtype: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.update(EXIF)
    exif.get_ifd(0x8769).update(DETAILS)
    exif.get_ifd(0x8825).update(PLACE)
    metadata = Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    pixels = noise(3, dtype, size)
    write_image(tmp_path / f"a.{source}", Picture(pixels, metadata))
    picture = read_image(tmp_path / f"a.{source}")
    notes = write_image(tmp_path / f"b.{target}", picture)
    assert all("uint16" in note for note in notes)
    with Image.open(tmp_path / f"b.{target}") as image:
        found = image.getexif()
        assert {tag: found[tag] for tag in EXIF} == EXIF
        assert {tag: found.get_ifd(0x8769)[tag] for tag in DETAILS} == DETAILS
        assert {tag: found.get_ifd(0x8825)[tag] for tag in PLACE} == PLACE
    if target == "tif":
        assert np.array_equal(read_image(tmp_path / "b.tif").pixels, picture.pixels)


def test_turning_is_the_right_way(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(np.repeat(np.arange(4, dtype=np.uint8) * 60, 6).reshape(4, 6)).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.write_to_file(str(tmp_path / "a.png"))
    assert read_image(tmp_path / "a.png").pixels[0, :, 0].tolist() == [180, 120, 60, 0]


def test_resolution_survives(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(noise(3)).copy(xres=11.811, yres=11.811)
    image.write_to_file(str(tmp_path / "a.png"))
    write_image(tmp_path / "b.tif", read_image(tmp_path / "a.png"))
    assert pyvips.Image.new_from_file(str(tmp_path / "b.tif")).xres == pytest.approx(11.811, abs=0.01)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_resolution_of_other_programs_survives(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(noise(3)).save(tmp_path / f"a{suffix}", dpi=(300, 300))
    for target in (".png", ".tif", ".jpg"):
        write_image(tmp_path / f"b{target}", read_image(tmp_path / f"a{suffix}"))
        with Image.open(tmp_path / f"b{target}") as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(("width", "height"), [(60, 60), (100, 90), (45, 20), (20, 61), (12, 13), (40, 40)])
@pytest.mark.parametrize("linear", [False, True])
def test_resampling_keeps_everything_in_its_place(width: int, height: int, linear: bool) -> None:
    down, across = np.mgrid[0:40, 0:40]
    spot = np.exp(-((across - 19.3) ** 2 + (down - 14.8) ** 2) / 16).astype(np.float32)
    found = resampled(pyvips.Image.new_from_array(spot), width, height, linear=linear).numpy()
    assert found.shape == (height, width)
    rows, columns = np.mgrid[0:height, 0:width]
    centre = ((found * columns).sum() / found.sum(), (found * rows).sum() / found.sum())
    assert centre == pytest.approx((19.8 * width / 40 - 0.5, 15.3 * height / 40 - 0.5), abs=0.01)


def test_palette_images_become_rgb(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(np.full((20, 20, 3), [200, 30, 60], np.uint8))
    image.write_to_file(str(tmp_path / "a.png"), palette=True)
    assert np.abs(read_image(tmp_path / "a.png").pixels.astype(int) - [200, 30, 60]).max() <= 2


def test_cmyk_becomes_srgb_and_its_profile_goes(tmp_path: Path) -> None:
    red = pyvips.Image.new_from_array(np.full((32, 32, 3), [220, 20, 30], np.uint8)).copy(interpretation="srgb")
    red.icc_transform("cmyk", input_profile="srgb").write_to_file(str(tmp_path / "a.jpg"))
    picture = read_image(tmp_path / "a.jpg")
    assert picture.pixels.shape == (32, 32, 3)
    assert not picture.metadata.icc
    assert np.abs(picture.pixels.astype(int) - [220, 20, 30]).max() < 40  # out of the press's gamut


def test_1_bit_images_are_black_and_white(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(noise(1) // 128 * 255)
    image.write_to_file(str(tmp_path / "a.png"), bitdepth=1)
    assert set(np.unique(read_image(tmp_path / "a.png").pixels)) == {0, 255}


def test_only_the_first_frame_is_taken_with_a_note(tmp_path: Path) -> None:
    frames = pyvips.Image.new_from_array(noise(3, size=(40, 20))).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 20)
    frames.write_to_file(str(tmp_path / "a.gif"))
    picture = read_image(tmp_path / "a.gif")
    assert picture.pixels.shape[:2] == (20, 20)
    assert "2 pages" in picture.notes[0]


def corrupt(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_damaged_files_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"good{suffix}", Picture(noise(3, size=(64, 64))))
    data = (tmp_path / f"good{suffix}").read_bytes()
    for name, bad in {"empty": b"", "text": b"no image at all", "cut": data[: len(data) // 2]}.items():
        path = corrupt(tmp_path / f"{name}{suffix}", bad)
        with pytest.raises(ImageError, match=rf"{name}{suffix}: ") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path)


@pytest.mark.parametrize(("suffix", "width"), [(".webp", 16384), (".jpg", 65501)])
def test_images_too_large_for_the_format_are_refused(suffix: str, width: int, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="use png or tiff"):
        write_image(tmp_path / f"a{suffix}", Picture(np.zeros((1, width, 1), np.uint8)))


def test_unknown_output_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot write \.gif; choose"):
        write_image(tmp_path / "a.gif", Picture(noise(3)))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = corrupt(tmp_path / "a.png", b"precious")

    def half_written(self: Any, target: Any, suffix: str, **options: Any) -> None:
        (half,) = tmp_path.glob(".fxsr-*")
        half.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pyvips.Image, "write_to_target", half_written)
    with pytest.raises(KeyboardInterrupt):
        write_image(old, Picture(noise(3)))
    assert old.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FxsrError, match="cannot write"):
        write_image(tmp_path / "file" / "a.png", Picture(noise(3)))


def test_the_sample_photo_is_readable() -> None:
    assert read_image(SAMPLE).pixels.shape == (300, 451, 3)


def test_lossless_webp_stays_lossless_unless_a_quality_is_demanded(tmp_path: Path) -> None:
    pixels = noise(3)
    write_rows(tmp_path / "a.webp", Rows.of(pixels), lossless=True)
    assert np.array_equal(read_image(tmp_path / "a.webp").pixels, pixels)
    write_rows(tmp_path / "b.webp", open_rows(tmp_path / "a.webp"))
    assert np.array_equal(read_image(tmp_path / "b.webp").pixels, pixels)
    write_rows(tmp_path / "c.webp", open_rows(tmp_path / "a.webp"), 95)
    assert not open_rows(tmp_path / "c.webp").lossless
    with pytest.raises(ImageError, match="JPEG files can't be lossless"):
        write_rows(tmp_path / "a.jpg", Rows.of(pixels), lossless=True)


def test_arrays_that_are_no_images_are_not_written(tmp_path: Path) -> None:
    grey = np.full((8, 9), 200, np.uint8)
    write_image(tmp_path / "grey.png", Picture(grey))
    assert np.array_equal(read_image(tmp_path / "grey.png").pixels[..., 0], grey)
    with pytest.raises(ImageError, match="this one is of int64"):
        write_image(tmp_path / "sum.png", Picture(grey.astype(np.int64)))
    assert not (tmp_path / "sum.png").exists()
