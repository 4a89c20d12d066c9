from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from fxsr.images.resample import resampled


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("side", [150, 290, 399, 600])
def test_hard_edges_of_alpha_do_not_ring(side: int, channels: int) -> None:
    pixels = np.full((400, 400, channels), 200, np.uint8)
    pixels[..., -1] = 0
    pixels[100:300, 100:300, -1] = 255
    resized = resampled(pyvips.Image.new_from_array(pixels), side, side).numpy()
    assert resized.shape == (side, side, channels)
    middle = resized[side // 2, :, -1].astype(int)
    inner = round(side * 0.25) + 3, round(side * 0.75) - 3
    assert set(middle[: inner[0] - 6]) == {0}  # Lanczos leaves 13 here, and 242 inside
    assert set(middle[slice(*inner)]) == {255}
    assert (np.diff(middle[: side // 2]) >= 0).all()
    assert set(resized[..., :-1].ravel()) == {200}


@pytest.mark.parametrize("alpha", [255, 90])
@pytest.mark.parametrize("side", [300, 500])
def test_colours_stay_sharp_where_alpha_is_the_same(side: int, alpha: int) -> None:
    pixels = np.full((400, 400, 4), alpha, np.uint8)
    pixels[..., :3] = 0
    pixels[:, 200:, :3] = 255
    resized = resampled(pyvips.Image.new_from_array(pixels), side, side).numpy()
    opaque = resampled(pyvips.Image.new_from_array(pixels[..., :3]), side, side).numpy()
    assert np.abs(resized[..., :3].astype(int) - opaque).max() <= 1
    assert set(resized[..., 3].ravel()) == {alpha}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("side", [20, 47, 160])
def test_what_is_hardly_visible_leaves_no_fringe(side: int, dtype: type) -> None:
    peak = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    pixels: NDArray[Any] = np.full((80, 80, 4), peak, dtype)
    pixels[:, 41:] = (0, 0, 0, peak / 255)  # beside white, a black shadow that is as good as invisible
    resized = resampled(pyvips.Image.new_from_array(pixels), side, side).numpy() / peak
    shown = resized[..., 0] * resized[..., 3] + 1 - resized[..., 3]
    assert shown.min() > 0.98
