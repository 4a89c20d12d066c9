"""LR-PSNR while rows stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.images.rows import Rows
from fxsr.metrics import psnr
from fxsr.runtime.upscale.faithful import LrPsnr, NotFaithfulError
from fxsr.training.resize import reduce_uint8

RNG = np.random.default_rng(5)


def images(height: int, width: int, channels: int, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image, and an upscaled one that is a little off."""
    lr = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    exact = lr.repeat(scale, 0).repeat(scale, 1).astype(int)
    return lr, (exact + RNG.integers(-20, 20, exact.shape)).clip(0, 255).astype(np.uint8)


def measured(lr: NDArray[np.uint8], sr: NDArray[np.uint8], scale: int, band: int, bound: float = 0) -> float:
    """The LR-PSNR, with outputs that come in bands."""
    measure = LrPsnr(Rows.of(lr), scale, bound)
    assert (measure.watch_input(Rows.of(lr)).whole() == lr).all()
    bands = (sr[top : top + band] for top in range(0, len(sr), band))
    assert (measure.watch_output(replace(Rows.of(sr), bands=bands)).whole() == sr).all()
    return measure.value


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (33, 20)])
@pytest.mark.parametrize("band", [1, 7, 1000])
def test_it_equals_the_measure_of_fxsr_eval(scale: int, height: int, width: int, band: int) -> None:
    lr, sr = images(height, width, 3, scale)
    assert measured(lr, sr, scale, band) == pytest.approx(psnr(reduce_uint8(sr, scale), lr, 255), abs=1e-6)


def test_what_is_transparent_does_not_count() -> None:
    lr, sr = images(20, 16, 4, 4)
    lr[:, :8, 3], lr[:, 8:, 3] = 0, 255
    spoilt = sr.copy()
    spoilt[:, :16, :3] = 0  # far enough from what is opaque
    assert measured(lr, spoilt, 4, 8) == pytest.approx(measured(lr, sr, 4, 8))


def test_a_result_below_the_bound_is_refused_at_its_end() -> None:
    lr, sr = images(12, 12, 1, 2)
    value = measured(lr, sr, 2, 5)
    assert measured(lr, sr, 2, 5, bound=value - 0.01) == value
    with pytest.raises(NotFaithfulError, match=rf"LR-PSNR is {value:.2f} dB, below the bound of"):
        measured(lr, sr, 2, 5, bound=value + 0.01)
