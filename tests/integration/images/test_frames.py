"""Further frames, pictures, parts and depth images of a file are named, and deep pixels keep their range."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxsr.errors import ImageError, TooLargeError
from fxsr.images.image import read_image
from fxsr.images.reading import open_rows
from tests.imagefiles import HEIC
from tests.support import noise

FRAMES = [Image.fromarray(np.roll(noise(3, np.uint8, (16, 16)), shift, 1)) for shift in (0, 3, 6)]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_further_frames_are_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    FRAMES[0].save(path, kind, save_all=True, append_images=FRAMES[1:])
    notes = read_image(path).notes
    assert any("frames" in note for note in notes), notes


def test_further_pictures_of_a_jpeg_are_named(tmp_path: Path) -> None:
    file = io.BytesIO()
    FRAMES[0].save(file, "MPO", save_all=True, append_images=FRAMES[1:])
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert read_image(tmp_path / "a.jpg").notes == (
        "has 3 pictures (MPO: a preview, a gain map, depth ...); only the first is upscaled",
    )


def test_heic_is_read_and_ten_bits_fill_the_range(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC)
    picture = read_image(tmp_path / "a.heic")
    assert picture.pixels.shape == (64, 64, 3)
    assert picture.pixels.dtype == np.uint16
    assert (picture.pixels == 65535).all()
    assert picture.metadata.exif


def test_heic_that_is_cut_or_too_large_is_refused(tmp_path: Path) -> None:
    data = HEIC
    (tmp_path / "a.heic").write_bytes(data[:-10])
    with pytest.raises(ImageError, match="ends too early: 10 bytes are missing"):
        read_image(tmp_path / "a.heic")
    (tmp_path / "a.heic").write_bytes(data)
    with pytest.raises(TooLargeError, match="64x64 has more than the 4095 pixels"):
        open_rows(tmp_path / "a.heic", 4095)


@pytest.mark.skipif(not shutil.which("heif-enc"), reason="needs heif-enc")
def test_further_images_of_a_heic_file_are_named(tmp_path: Path) -> None:
    for number, frame in enumerate(FRAMES):
        frame.resize((64, 64)).save(tmp_path / f"{number}.png")
    made = subprocess.run(["heif-enc", "0.png", "1.png", "2.png", "-o", "a.heic"], cwd=tmp_path, capture_output=True)
    if made.returncode:
        pytest.skip("heif-enc has no encoder")
    assert read_image(tmp_path / "a.heic").notes == ("has 3 images; only the primary one is upscaled",)


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_fills_the_range(bits: int, tmp_path: Path) -> None:
    import pyvips

    white = pyvips.Image.new_from_array(np.full((64, 64, 3), 65535, np.uint16)).copy(interpretation="rgb16")
    white.write_to_file(str(tmp_path / "a.avif"), bitdepth=bits, lossless=True)
    pixels = read_image(tmp_path / "a.avif").pixels
    assert pixels.dtype == np.uint16
    assert (pixels >= 65535 - (65535 >> bits)).all()


def test_a_cut_page_of_a_tiff_is_named(tmp_path: Path) -> None:
    file = io.BytesIO()
    FRAMES[0].save(file, "TIFF")
    data = bytearray(file.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, len(data) + 100)
    (tmp_path / "a.tif").write_bytes(data)
    assert read_image(tmp_path / "a.tif").notes == ("its directory of further pages is cut or damaged",)
