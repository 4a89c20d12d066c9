"""Images as bands of rows, read and written from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from fxsr.errors import FxsrError, ImageError
from fxsr.images import writing as image_writing
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.reading import open_rows
from fxsr.images.rows import Rows
from fxsr.images.writing import write_rows
from tests.support import noise


@pytest.mark.parametrize("space", ["labs", "lab"])
def test_other_colour_spaces_keep_their_depth(space: str, tmp_path: Path) -> None:
    pixels = np.linspace(0, 65535, 24 * 16 * 3).reshape(16, 24, 3).astype(np.uint16)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16")
    image.colourspace(space).write_to_file(str(tmp_path / "a.tif"))
    found = read_image(tmp_path / "a.tif").pixels
    assert found.dtype == np.uint16
    assert np.abs(found.astype(int) - pixels).max() < 512  # 2 of 255


@pytest.mark.parametrize("suffix", [".bmp", ".exr"])
def test_metadata_that_a_format_cannot_hold_is_named(suffix: str, tmp_path: Path) -> None:
    profile = pyvips.Image.black(2, 2, bands=3).copy(interpretation="srgb").icc_export(output_profile="srgb")
    profile.write_to_file(str(tmp_path / "a.png"))
    picture = read_image(tmp_path / "a.png")
    assert picture.metadata.icc
    notes = write_image(tmp_path / f"b{suffix}", picture)
    assert f"{suffix} holds no ICC profile: colours are converted to sRGB by it" in notes


def test_large_tiff_is_tiled_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_writing, "_BIG", 1000)
    pixels = noise(3)
    write_image(tmp_path / "a.tif", Picture(pixels))
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    assert pyvips.Image.new_from_file(str(tmp_path / "a.tif")).get("tile-width") == 256
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


def test_an_error_amid_the_rows_is_that_error_and_leaves_nothing(tmp_path: Path) -> None:
    def bands() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((30, 40, 3), np.uint8)
        raise FxsrError("the device fell off")

    rows = Rows(1000, 40, 3, np.dtype(np.uint8), bands())
    with pytest.raises(FxsrError, match="the device fell off"):
        write_rows(tmp_path / "a.png", rows)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_stops_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, target: Any, suffix: str, **options: Any) -> None:
        raise pyvips.Error("disk full")

    monkeypatch.setattr(pyvips.Image, "write_to_target", full)
    taken = 0

    def bands() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((64, 1000, 3), np.uint8)

    with pytest.raises(ImageError, match=r"a\.png: cannot be written \(disk full\)"):
        write_rows(tmp_path / "a.png", Rows(64 * 10**6, 1000, 3, np.dtype(np.uint8), bands()))
    assert taken < 1000
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_file_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    pixels = noise(3, size=(4000, 2000))
    write_image(tmp_path / "a.tif", Picture(pixels))
    rows = open_rows(tmp_path / "a.tif")
    bands = list(rows.bands)
    assert len(bands) > 4
    assert np.array_equal(np.concatenate(bands), pixels)
