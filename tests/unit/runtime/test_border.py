"""Images are mirrored outwards before they are upscaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fxsr
from fxsr.images.rows import Rows
from fxsr.runtime.upscale.border import Border
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.style_map import StyleMap
from tests.support import NearestSession, noise


def rows_of(image: NDArray[Any], band: int) -> Rows:
    bands = (image[top : top + band] for top in range(0, len(image), band))
    height, width, channels = image.shape
    return Rows(height, width, channels, image.dtype, bands)


@pytest.mark.parametrize("band", [1, 3, 50])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (8, 5), (9, 9), (41, 17)])
@pytest.mark.parametrize("border", [(8, 8), (0, 3), (5, 0), (0, 0)])
def test_borders_are_those_of_numpy_and_are_cut_off_again(
    size: tuple[int, int], band: int, border: tuple[int, int]
) -> None:
    image = noise(3, np.uint8, size)
    around = Border(*border)
    larger = around.around(rows_of(image, band))
    whole = np.pad(image, ((border[0],) * 2, (border[1],) * 2, (0, 0)), "symmetric")
    assert (larger.height, larger.width) == whole.shape[:2]
    assert np.array_equal(larger.whole(), whole)
    bands: Iterator[Any] = iter(np.array_split(whole.repeat(2, 0).repeat(2, 1), 7))
    assert np.array_equal(np.concatenate(list(around.cut_off(bands, size[0], 2))), image.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("size", [(3, 40), (41, 17)])
def test_styles_are_mirrored_alike(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(size, np.float32)
    styles = Border(8, 4).around_style(StyleMap.from_array(values).over(*size), *size)
    whole = np.pad(values, ((8, 8), (4, 4)), "symmetric")
    for top in range(0, len(whole) - 5, 3):
        assert np.array_equal(styles.rows(slice(top, top + 5)), whole[top : top + 5])
    uniform = Border(8, 4).around_style(StyleMap.uniform(0.5).over(*size), *size)
    assert uniform.rows(slice(0, 5)).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("length", "tile", "most", "wanted"),
    [
        (100, 256, None, (116, 1)),
        (256, 256, None, (272, 1)),
        (257, 256, None, (273, 2)),
        (100, 0, None, (116, 1)),
        (250, 256, 256, (256, 1)),
        (256, 256, 256, (256, 1)),
        (257, 256, 256, (273, 2)),
    ],
)
def test_a_border_takes_no_more_tiles_where_one_is_enough(
    length: int, tile: int, most: int | None, wanted: tuple[int, int]
) -> None:
    session = NearestSession(tile=(most, most) if most else None)
    plan = Upscaler(session, tile, 32).axis_plan(length)
    assert (plan.length, len(plan.starts)) == wanted


@pytest.mark.parametrize("model", ["fxsr-photo-x4-small", "fxsr-pd-x4-small"])
def test_flat_areas_are_flat_up_to_the_corners(model: str) -> None:
    with fxsr.load(model, "cpu") as upscaler:
        for colour in ((255, 255, 255), (220, 220, 220), (128, 128, 128)):
            sr = upscaler(np.full((24, 24, 3), colour, np.uint8), 0.8).astype(int)
            assert np.abs(sr - sr[48, 48]).max() <= 3
