from __future__ import annotations

import numpy as np
import pytest
import torch

from fxsr.training.losses import reduce as reduce_tensor
from fxsr.training.resize import bicubic_upscale, reduce, reduce_uint8, to_uint8
from tests.support import GOLDEN

TOLERANCE = 1e-4
"""Tolerance in levels of 255. The stored values are float32 results of float64 arithmetic."""


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_reduction_agrees_with_matlab(scale: int) -> None:
    with np.load(GOLDEN / "imresize.npz") as golden:
        assert np.abs(reduce(golden["input"], scale) - golden[f"down{scale}"]).max() < TOLERANCE
        assert np.array_equal(reduce_uint8(golden["input"], scale), to_uint8(golden[f"down{scale}"]))


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_upscaling_agrees_with_matlab(scale: int) -> None:
    with np.load(GOLDEN / "imresize.npz") as golden:
        assert np.array_equal(bicubic_upscale(golden["input"][:12, :16], scale), to_uint8(golden[f"up{scale}"]))


def test_the_tensor_form_is_the_same() -> None:
    pixels = np.random.default_rng(0).random((16, 24, 3), np.float32)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    assert np.abs(reduce_tensor(tensor, 4)[0].permute(1, 2, 0).numpy() - reduce(pixels, 4)).max() < 1e-6


def test_a_flat_picture_stays_flat() -> None:
    assert (reduce_uint8(np.full((8, 16, 3), 77, np.uint8), 8) == 77).all()


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="9x8 is not a multiple of 4"):
        reduce(np.zeros((8, 9, 3), np.uint8), 4)
