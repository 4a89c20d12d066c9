from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fxsr.export.rewrites import fold_condition, phase_kernels
from tests.support import TINY, golden_checkpoint, relative


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (6, 7)])
def test_phases_equal_doubling_and_convolving_borders_included(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((5, 4, 3, 3)).astype(np.float32)
    x = torch.from_numpy(rng.standard_normal((2, 4, *size)).astype(np.float32))
    plain = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), torch.from_numpy(kernel), padding=1)
    phases = torch.empty_like(plain)
    for (py, px), small in phase_kernels(kernel).items():
        padded = F.pad(x, (1 - px, px, 1 - py, py))
        phases[:, :, py::2, px::2] = F.conv2d(padded, torch.from_numpy(small))
    assert relative(phases.numpy(), plain.numpy()) < 1e-6


def test_folded_condition_equals_two_convolutions() -> None:
    weights = golden_checkpoint(TINY, 5).weights
    name = "RRDB_trunk.0.RDB2.sft3.SFT_shift_conv0"
    u = np.random.default_rng(0).standard_normal((1, 1, 3, 4)).astype(np.float32)
    kernel, bias = fold_condition(weights, name)

    def conv(x: torch.Tensor, layer: str) -> torch.Tensor:
        return F.conv2d(x, torch.from_numpy(weights[f"{layer}.weight"]), torch.from_numpy(weights[f"{layer}.bias"]))

    plain = conv(conv(torch.from_numpy(u), "CondNet.2"), name)
    folded = F.conv2d(torch.from_numpy(u), torch.from_numpy(kernel), torch.from_numpy(bias))
    assert relative(folded.numpy(), plain.numpy()) < 1e-6
