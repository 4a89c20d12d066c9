from __future__ import annotations

import numpy as np
import pytest

from fxsr.training.cache import Pixels
from fxsr.training.native import grid, measure_native
from fxsr.training.resize import bicubic_upscale


def smooth(side: int = 128) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    return np.stack([90 + 60 * x, 120 + 40 * y, 100 + 30 * x * y], 2)


@pytest.mark.parametrize("period", [4, 2])
def test_grid_is_the_amplitude_of_what_repeats_with_the_input(period: int) -> None:
    wave = 3 * np.cos(2 * np.pi * np.arange(128) / period)
    stamped = (smooth() + wave[None, :, None]).round().astype(np.uint8)
    assert grid(stamped, 4) == pytest.approx(3, rel=0.1)
    assert grid(smooth().astype(np.uint8), 4) < 0.1


def test_waves_of_other_periods_are_no_grid() -> None:
    wave = 3 * np.cos(2 * np.pi * np.arange(128) / 5.7)
    assert grid((smooth() + wave[None, :, None]).round().astype(np.uint8), 4) < 0.2


def test_noise_is_no_grid() -> None:
    noisy = smooth() + np.random.default_rng(0).normal(0, 4, (128, 128, 1))
    assert grid(noisy.round().astype(np.uint8), 4) < 0.25


def test_only_the_flatter_half_counts() -> None:
    rough = smooth(192)
    rough[:, 128:] += np.random.default_rng(0).normal(0, 40, (192, 64, 1))
    assert grid(rough.clip(0, 255).astype(np.uint8), 4) < 0.1
    rough[:, 128:] += 60 * np.cos(2 * np.pi * np.arange(64) / 4)[None, :, None]
    assert grid(rough.clip(0, 255).astype(np.uint8), 4) < 0.1


def test_photos_are_measured_over_t_against_bicubic() -> None:
    photo = smooth(32).astype(np.uint8)

    def upscale(lr: Pixels, t: float) -> Pixels:
        return (bicubic_upscale(lr, 4) + np.uint8(round(8 * t**2))).astype(np.uint8)

    bicubic, *scores = measure_native(upscale, [photo, photo], 4, (0, 0.5, 1))
    assert bicubic.t is None
    assert [each.t for each in scores] == [0, 0.5, 1]
    assert [each.change for each in scores] == [None, 2, 6]
    assert measure_native(upscale, [photo], 4, (0.5,))[1].change is None
