from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.runtime.upscale.alpha import fill_transparent, neighbour_range


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_hidden_colours_become_those_of_the_surroundings(dtype: type) -> None:
    rgb: NDArray[Any] = np.zeros((9, 13, 3), dtype)
    alpha = np.zeros((9, 13), np.uint8)
    rgb[2:5, 3:8], alpha[2:5, 3:8] = (100, 50, 25), 255
    filled = fill_transparent(rgb, alpha)
    assert filled.dtype == dtype
    assert np.allclose(filled, [100, 50, 25], atol=1e-3)


def test_visible_pixels_stay_as_they_were() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (20, 17, 3), np.uint8)
    alpha = rng.integers(0, 2, (20, 17), np.uint8) * 9
    filled = fill_transparent(rgb, alpha)
    assert np.array_equal(filled[alpha > 0], rgb[alpha > 0])


def test_each_side_takes_the_colour_next_to_it() -> None:
    rgb = np.zeros((8, 32, 3), np.uint8)
    alpha = np.zeros((8, 32), np.uint8)
    rgb[:, :4], rgb[:, -4:] = (255, 0, 0), (0, 0, 255)
    alpha[:, :4] = alpha[:, -4:] = 255
    filled = fill_transparent(rgb, alpha)
    assert filled[4, 5].tolist() == [255, 0, 0]
    assert filled[4, -6].tolist() == [0, 0, 255]


@pytest.mark.parametrize("value", [0, 255])
def test_all_hidden_or_all_visible_is_left_alone(value: int) -> None:
    rgb = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(fill_transparent(rgb, np.full((4, 4), value, np.uint8)), rgb)


def test_the_range_of_neighbours_is_that_of_a_3x3_square_cut_off_at_the_borders() -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (7, 9), np.uint8)
    low, high = neighbour_range(alpha)
    for y, x in np.ndindex(alpha.shape):
        around = alpha[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert (low[y, x], high[y, x]) == (around.min(), around.max())
