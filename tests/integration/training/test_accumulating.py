"""Steps of several batches equal steps of one batch of the same crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training import check_resuming, run, weights

_HINGE = (
    'conditional.terms=[{kind="charbonnier", weight=[[0, 1], [1, 0.1]]}, '
    '{kind="adversarial", gan="hinge", weight=[[0, 0], [0.5, 0], [1, 0.01]]}]'
)
"""Without terms that compare the crops of a batch with each other."""
TOLERANCE = 1e-4
"""Relative to the largest weight. Adam's first steps have the size of the rate, whatever that of the gradient, so
agreement is that of the gradient's signs."""


@pytest.mark.parametrize("sees", ["all", "weighed"])
def test_two_batches_of_two_crops_are_one_of_four(sees: str, photos: Path, tmp_path: Path) -> None:
    common = [_HINGE, f"conditional.discriminator.sees={sees}", "conditional.discriminator.start=0"]
    whole = run(photos, tmp_path / "whole", *common)
    halves = [f"{stage}.{key}=2" for stage in ("psnr", "conditional") for key in ("batch", "accumulate")]
    parts = run(photos, tmp_path / "parts", *common, *halves)
    assert len(whole.losses) == len(parts.losses) == 8
    for one, other in zip(whole.losses[:5], parts.losses[:5], strict=True):  # later the discriminators differ
        assert one == pytest.approx(other, rel=1e-3)
    largest = max(float(np.abs(value).max()) for value in weights(whole).values())
    for key, value in weights(whole).items():
        assert np.abs(value - weights(parts)[key]).max() < TOLERANCE * largest, key


def test_a_run_of_several_batches_per_step_stops_and_goes_on(photos: Path, tmp_path: Path) -> None:
    parts = ["conditional.accumulate=3", "conditional.batch=2", "conditional.style.per=batch"]
    check_resuming(photos, tmp_path, *parts)


def test_another_number_of_batches_is_another_run(photos: Path, tmp_path: Path) -> None:
    from fxsr.errors import UsageError

    run(photos, tmp_path, stop_after=1)
    with pytest.raises(UsageError, match=r"started with psnr\.accumulate = 1, not 2"):
        run(photos, tmp_path, "psnr.accumulate=2", resume=True)
