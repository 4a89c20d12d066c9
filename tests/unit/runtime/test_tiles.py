from __future__ import annotations

import numpy as np
import pytest

from fxsr.errors import UsageError
from fxsr.runtime.upscale.tiles import DEFAULT_OVERLAP, check_tiling, default_overlap, plan_axis

CASES = [
    (1, 8, 2),
    (8, 8, 2),
    (9, 8, 2),
    (9, 8, 0),
    (300, 256, 32),
    (500, 64, 32),
    (97, 16, 8),
    (1000, 256, 32),
    (7, 0, 3),
]


@pytest.mark.parametrize(("length", "tile", "overlap"), CASES)
@pytest.mark.parametrize("scale", [1, 4])
def test_weights_add_up_to_one_everywhere(length: int, tile: int, overlap: int, scale: int) -> None:
    plan = plan_axis(length, tile, overlap)
    total = np.zeros(length * scale)
    for start, weights in zip(plan.starts, plan.weights(scale), strict=True):
        assert weights.min() >= 0
        total[start * scale : (start + plan.size) * scale] += weights
    assert np.allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize(("length", "tile", "overlap"), CASES)
def test_tiles_cover_the_axis_and_share_at_least_the_overlap(length: int, tile: int, overlap: int) -> None:
    plan = plan_axis(length, tile, overlap)
    assert plan.starts[0] == 0
    assert plan.starts[-1] + plan.size == length
    assert not tile or plan.size <= max(tile, 1)
    for a, b in zip(plan.starts, plan.starts[1:], strict=False):
        assert a + plan.size - b >= overlap


def test_no_more_tiles_than_needed_and_none_larger() -> None:
    plan = plan_axis(257, 256, 32)
    assert len(plan.starts) == 2
    assert plan.size == 145  # (257 + 32) / 2, not 256


def test_final_until_is_where_the_next_tile_begins() -> None:
    plan = plan_axis(500, 128, 32)
    assert [plan.final_until(i) for i in range(len(plan.starts))] == [*plan.starts[1:], 500]


@pytest.mark.parametrize(("tile", "overlap"), [(64, 33), (-1, 0), (64, -1), (1, 1)])
def test_impossible_tilings_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(UsageError):
        plan_axis(100, tile, overlap)


@pytest.mark.parametrize("tile", [0, 1, 2, 7, 63, 64, 256])
def test_the_default_overlap_fits_any_tile(tile: int) -> None:
    check_tiling(tile, default_overlap(tile))
    assert default_overlap(tile) == DEFAULT_OVERLAP or tile < 64
