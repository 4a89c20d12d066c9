"""What browsers see of photos and results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from fxsr.errors import UsageError
from fxsr.images.image import Picture, write_image
from fxsr.runtime.ui.detail import find_detail
from fxsr.runtime.ui.views import Part, ResultView, as_bytes, as_png, enlarged, overview, shrunk
from tests.support import noise


def decoded(file: bytes) -> Any:
    return pyvips.Image.new_from_buffer(file, "").numpy()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((1, 1, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((1, 1, 2), [7, 9], np.uint8), [7, 7, 7, 9]),
        (np.full((1, 1, 3), 65535, np.uint16), [255, 255, 255]),
        (np.full((1, 1, 4), [0.5, -1, 3, 1], np.float32), [128, 0, 255, 255]),
    ],
)
def test_pixels_of_every_kind_can_be_shown(pixels: Any, expected: list[int]) -> None:
    assert as_bytes(pixels).tolist() == [[expected]]
    assert decoded(as_png(pixels)).tolist() == [[expected]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_large_photo_is_sent_small(dtype: Any, channels: int) -> None:
    pixels = noise(channels, dtype, (60, 4000))
    shown = decoded(overview(pixels))
    assert shown.shape == (24, 1600, 3 + (channels % 2 == 0))
    small = shrunk(pixels, 0.1)
    assert small.shape == (6, 400, 3 + (channels % 2 == 0))
    assert small.dtype == np.uint8


def test_what_is_transparent_does_not_bleed_into_a_small_picture() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, :20] = (200, 0, 0, 255)
    pixels[:, 20:] = (0, 255, 0, 0)
    small = shrunk(pixels, 0.25)
    seen = small[small[..., 3] > 100]
    assert seen[:, 1].max() <= 20


def test_the_original_is_shown_where_the_result_lies() -> None:
    ramp = np.tile(np.arange(60, dtype=np.uint8)[None, :, None] * 4, (40, 1, 3))
    part = decoded(enlarged(ramp, Part(20, 10, 12, 8), 4))
    assert part.shape == (32, 48, 3)
    exact = (np.arange(48) + 0.5) / 4 + 20 - 0.5
    assert part[16, :, 0] == pytest.approx(exact * 4, abs=1.5)
    assert decoded(enlarged(ramp, Part(0, 0, 60, 40), 0.5)).shape == (20, 30, 3)


def test_the_original_of_transparent_photos_is_transparent() -> None:
    assert decoded(enlarged(noise(4, size=(20, 20)), Part(3, 3, 5, 5), 4)).shape == (20, 20, 4)
    assert decoded(enlarged(noise(2, size=(20, 20)), Part(3, 3, 5, 5), 4)).shape == (20, 20, 4)


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (4, np.uint8), (1, np.uint16), (3, np.uint16)])
def test_any_part_of_a_result_is_read_pixel_by_pixel(channels: int, dtype: Any, tmp_path: Path) -> None:
    pixels = noise(channels, dtype, (1200, 1600))
    write_image(tmp_path / "result.png", Picture(pixels))
    view = ResultView.of(tmp_path / "result.png", tmp_path / "view", 4)
    part = decoded(view.part(Part(201, 103, 150, 77), 0))
    assert np.array_equal(part, as_bytes(pixels)[412:720, 804:1404])
    assert view.levels > 1
    assert decoded(view.part(Part(200, 100, 152, 80), 1)).shape[:2] == (160, 304)
    for level in (-1, view.levels):
        with pytest.raises(UsageError, match="level is"):
            view.part(Part(0, 0, 4, 4), level)


def test_a_part_that_would_be_huge_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((1500, 1500, 1), np.uint8)
    with pytest.raises(UsageError, match="ask for a smaller one"):
        enlarged(pixels, Part(0, 0, 1500, 1500), 4)


@pytest.mark.parametrize("place", [(0.25, 0.3), (0.7, 0.6)])
def test_the_first_look_is_at_detail(place: tuple[float, float]) -> None:
    pixels = np.full((300, 500, 3), 90, np.uint8)
    x, y = round(place[0] * 500), round(place[1] * 300)
    pixels[y - 25 : y + 25, x - 25 : x + 25] = noise(3, size=(50, 50))
    assert find_detail(pixels) == pytest.approx(place, abs=0.06)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 1)])
def test_tiny_photos_have_a_place_to_look_at_as_well(size: tuple[int, int]) -> None:
    x, y = find_detail(noise(3, size=size))
    assert 0 <= x <= 1
    assert 0 <= y <= 1
