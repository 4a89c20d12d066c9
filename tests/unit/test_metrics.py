from __future__ import annotations

import numpy as np
import pytest

from fxsr.metrics import psnr


@pytest.mark.parametrize(
    ("a", "b", "peak", "expected"),
    [(0.0, 0.1, 1.0, 20.0), (10, 20, 255, 28.1308), (3, 3, 1.0, float("inf"))],
)
def test_psnr(a: float, b: float, peak: float, expected: float) -> None:
    assert psnr(np.full(4, a), np.full(4, b), peak) == pytest.approx(expected, abs=1e-3)
