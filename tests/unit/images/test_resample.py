from __future__ import annotations

import numpy as np
import pytest
import pyvips

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


def test_colours_stay_sharp() -> None:
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[:, 200:] = 255
    resized = resampled(pyvips.Image.new_from_array(pixels), 300, 300).numpy()
    assert np.array_equal(resized[..., :3], resampled(pyvips.Image.new_from_array(pixels[..., :3]), 300, 300).numpy())
