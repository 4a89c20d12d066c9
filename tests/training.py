"""Training runs of the smallest network in this process, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.models.checkpoint import load_checkpoint
from fxsr.training.loop import Outcome, train
from tests.support import SilentMonitor, tiny_recipe


def run(photos: Path, out: Path, *overrides: str, stop_after: int | None = None, resume: bool = False) -> Outcome:
    steps = 0

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_after

    return train(tiny_recipe(photos, *overrides), out, SilentMonitor(), resume, should_stop, "cpu")


def check_resuming(photos: Path, folder: Path, *overrides: str, stop_after: int = 5) -> None:
    """Require that a run that was stopped and resumed ends as one that was not: same losses, same weights."""
    straight = run(photos, folder / "straight", *overrides)
    first = run(photos, folder / "parts", *overrides, stop_after=stop_after)
    second = run(photos, folder / "parts", *overrides, resume=True)
    assert straight.finished
    assert second.finished
    assert first.losses + second.losses == straight.losses
    for key, value in weights(straight).items():
        assert np.array_equal(value, weights(second)[key]), key


def weights(outcome: Outcome) -> Mapping[str, Any]:
    return load_checkpoint(outcome.weights).weights
