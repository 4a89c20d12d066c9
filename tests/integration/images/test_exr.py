"""EXR files: linear light, any compression, and what of them can't be upscaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fxsr.errors import ImageError, StyleError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.styles.style_map import StyleMap
from tests.support import noise


def test_exr_holds_linear_light_multiplied_by_alpha(tmp_path: Path) -> None:
    import OpenEXR

    write_image(tmp_path / "a.exr", Picture(np.full((20, 3, 4), [255, 188, 0, 128], np.uint8)))
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        light = file.channels()["RGBA"].pixels
    assert light.shape == (20, 3, 4)
    half = 128 / 255
    assert np.allclose(light, [half, 0.5029 * half, 0, half], atol=1e-4)  # sRGB's 188 is half as much light


def test_exr_of_numbers_is_taken_as_it_is(tmp_path: Path) -> None:
    import OpenEXR

    depth = np.linspace(1, 9, 20, dtype=np.float32).reshape(4, 5)
    depth[0, 0] = np.inf
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Z": depth}) as file:
        file.write(str(tmp_path / "z.exr"))
    assert np.array_equal(read_image(tmp_path / "z.exr", as_data=True).pixels[..., 0], depth)
    with pytest.raises(ImageError, match="has the channels Z"):
        read_image(tmp_path / "z.exr")
    write_image(tmp_path / "half.exr", Picture(np.full((4, 5, 1), 0.5, np.float32)))  # as light, 0.21
    assert StyleMap.read(tmp_path / "half.exr").values == pytest.approx(0.214, abs=1e-3)


def test_a_style_map_that_holds_infinity_is_refused(tmp_path: Path) -> None:
    import OpenEXR

    values = np.full((4, 5), 0.5, np.float32)
    values[0, 0] = np.inf
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Y": values}) as file:
        file.write(str(tmp_path / "map.exr"))
    with pytest.raises(StyleError, match=r"map\.exr: style values must lie in 0\.\.1; these reach from 0\.5 to inf"):
        StyleMap.read(tmp_path / "map.exr")


def test_other_channels_of_exr_are_named(tmp_path: Path) -> None:
    import OpenEXR

    planes = {name: np.ones((4, 5), np.float16) for name in ("R", "G", "B", "depth")}
    header = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, planes) as file:
        file.write(str(tmp_path / "a.exr"))
    picture = read_image(tmp_path / "a.exr")
    assert picture.notes == ("channel depth is left out",)
    assert picture.pixels.shape == (4, 5, 3)
    with OpenEXR.File(header, {"depth": planes["depth"]}) as file:
        file.write(str(tmp_path / "b.exr"))
    with pytest.raises(ImageError, match=r"b\.exr: has the channels depth; R, G, B or Y, and A, can be upscaled"):
        read_image(tmp_path / "b.exr")


@pytest.mark.parametrize("part", [0.0005, 0.01, 0.5, 0.99])
def test_an_exr_file_that_is_cut_is_refused_in_one_line(
    part: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.exr", Picture(noise(3, np.float32, (300, 200))))
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(data[: max(5, int(len(data) * part))])
    with pytest.raises(ImageError, match=r"a\.exr: not an image that can be read, or a damaged one"):
        read_image(tmp_path / "a.exr")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA", "DWAB"])
def test_exr_is_read_in_any_compression(compression: str, tmp_path: Path) -> None:
    import OpenEXR

    light = np.linspace(0, 1, 300 * 40, dtype=np.float32).reshape(300, 40)
    header = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION"), "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Y": light}) as file:
        file.write(str(tmp_path / "a.exr"))
    assert read_image(tmp_path / "a.exr").pixels.shape == (300, 40, 1)


def window(*corners: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(corners[:2], np.int32), np.array(corners[2:], np.int32)


def test_the_picture_is_the_display_window(tmp_path: Path) -> None:
    import OpenEXR

    light = np.full((24, 24, 3), 0.3, np.float32)
    for display, shape, shown in (
        ((0, 0, 63, 47), (48, 64), (slice(5, 29), slice(10, 34))),
        ((12, 7, 21, 16), (10, 10), (slice(0, 10), slice(0, 10))),
        ((0, 20, 19, 39), (20, 20), (slice(0, 9), slice(10, 20))),
    ):
        header = {"type": OpenEXR.scanlineimage, "dataWindow": window(10, 5, 33, 28), "displayWindow": window(*display)}
        with OpenEXR.File(header, {"RGB": light}) as file:
            file.write(str(tmp_path / "a.exr"))
        picture = read_image(tmp_path / "a.exr")
        assert picture.pixels.shape == (*shape, 3)
        expected = np.zeros(shape, bool)
        expected[shown] = True
        assert np.array_equal(picture.pixels[..., 0] > 0.5, expected)
        assert "display window" in picture.notes[0]
    header["displayWindow"] = window(100, 100, 109, 109)
    with OpenEXR.File(header, {"RGB": light}) as file:
        file.write(str(tmp_path / "a.exr"))
    with pytest.raises(ImageError, match="its pixels lie outside its display window"):
        read_image(tmp_path / "a.exr")


def test_colours_of_other_primaries_are_converted(tmp_path: Path) -> None:
    import OpenEXR

    aces = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
    light = np.full((4, 4, 3), [0.18, 0.18, 0.18], np.float32)
    light[0] = [0.43963, 0.08978, 0.01754]  # red of sRGB in ACES 2065-1
    with OpenEXR.File({"type": OpenEXR.scanlineimage, "chromaticities": aces, "owner": "me"}, {"RGB": light}) as file:
        file.write(str(tmp_path / "a.exr"))
    picture = read_image(tmp_path / "a.exr")
    assert np.ptp(picture.pixels[1]) < 1e-3  # grey stays grey
    assert np.allclose(picture.pixels[0, 0], [1, 0, 0], atol=0.05)
    assert "its colours were converted from its own primaries to those of sRGB" in picture.notes
    assert "header entries are not kept: owner" in picture.notes


def test_the_first_part_with_a_picture_is_read(tmp_path: Path) -> None:
    import OpenEXR

    light = np.full((40, 40, 3), 0.3, np.float32)
    depth = OpenEXR.Part({"type": OpenEXR.scanlineimage}, {"Z": light[..., 0].copy()}, "depth")
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription(), "compression": OpenEXR.PIZ_COMPRESSION}
    with OpenEXR.File([depth, OpenEXR.Part(tiles, {"RGB": light}, "beauty")]) as file:
        file.write(str(tmp_path / "a.exr"))
    picture = read_image(tmp_path / "a.exr")
    assert picture.pixels.shape == (40, 40, 3)
    assert picture.notes == ("has 2 parts; only number 2 is upscaled",)
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(data[:-9])
    with pytest.raises(ImageError, match="ends too early"):
        read_image(tmp_path / "a.exr")


def test_deep_and_damaged_files_are_refused_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import OpenEXR

    samples = np.empty((4, 4), object)
    for index in np.ndindex(4, 4):
        samples[index] = np.array([1, 2], np.float32)
    header = {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}
    OpenEXR.File(header, dict.fromkeys("RGBAZ", samples)).write(str(tmp_path / "deep.exr"))
    with pytest.raises(ImageError, match=r"deep\.exr: is a deep EXR"):
        read_image(tmp_path / "deep.exr")
    write_image(tmp_path / "a.exr", Picture(np.kron(noise(3, np.float32, (15, 10)), np.ones((4, 5, 1), np.float32))))
    data = bytearray((tmp_path / "a.exr").read_bytes())
    data[-300:-200] = bytes(100)
    (tmp_path / "a.exr").write_bytes(data)
    with pytest.raises(ImageError, match="the compressed data of a block are damaged"):
        read_image(tmp_path / "a.exr")
    assert capfd.readouterr() == ("", "")
