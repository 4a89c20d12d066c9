from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fxsr.export.graph.rewrites import phase_kernels, style_curve
from fxsr.models.config import COND_SLOPE
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


BRANCH = "RRDB_trunk.0.RDB2.sft3.SFT_shift"


def branch(weights: Mapping[str, NDArray[np.float32]], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the layers give for each t, one after the other in double precision: (channels, t)."""

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel, bias = (torch.from_numpy(weights[f"{name}.{part}"]).double() for part in ("weight", "bias"))
        return F.conv2d(x, kernel, bias)

    x = conv(F.leaky_relu(conv(torch.from_numpy(t)[None, None, None], "CondNet.0"), COND_SLOPE), "CondNet.2")
    x = conv(F.leaky_relu(conv(x, f"{BRANCH}_conv0"), COND_SLOPE), f"{BRANCH}_conv1")
    return np.asarray(x[0, :, 0])


def curve_errors(weights: Mapping[str, NDArray[np.float32]]) -> float:
    """Largest, on a fine grid and beside every bend."""
    curve = style_curve(weights, BRANCH)
    beside = [np.clip(curve.knots + step, 0, 1) for step in (-1e-9, 0, 1e-9)]
    t = np.concatenate([np.linspace(0, 1, 1001), *beside])
    found = np.stack([curve.at(each) for each in t], 1)
    return float(np.abs(found - branch(weights, t)).max())


@pytest.mark.parametrize("seed", range(8))
def test_a_style_curve_is_what_the_layers_compute(seed: int) -> None:
    weights = golden_checkpoint(replace(TINY, nc=16), seed).weights
    assert curve_errors(weights) < 1e-12


@pytest.mark.parametrize("first", [(0.0, 0.3), (1.0, -0.5), (-1.0, 0.5), (-2.0, 0.0), (1.0, 0.0)])
def test_a_style_curve_where_the_condition_network_bends_or_is_constant(first: tuple[float, float]) -> None:
    weights = dict(golden_checkpoint(replace(TINY, nc=16), 5).weights)
    weights["CondNet.0.weight"] = np.full((1, 1, 1, 1), first[0], np.float32)
    weights["CondNet.0.bias"] = np.full(1, first[1], np.float32)
    assert curve_errors(weights) < 1e-12


def test_a_style_curve_bends_only_where_a_hidden_channel_changes_sign() -> None:
    weights = dict(golden_checkpoint(replace(TINY, nc=4), 5).weights)
    weights["CondNet.0.weight"], weights["CondNet.0.bias"] = np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
    weights["CondNet.2.weight"], weights["CondNet.2.bias"] = np.ones((4, 1, 1, 1), np.float32), np.zeros(4, np.float32)
    weights[f"{BRANCH}_conv0.weight"] = np.eye(4, dtype=np.float32)[:, :, None, None]
    weights[f"{BRANCH}_conv0.bias"] = np.array(
        [-0.25, -0.75, 1, -2], np.float32
    )  # the last two: always above and below zero
    assert style_curve(weights, BRANCH).knots.tolist() == [0, 0.25, 0.75]
    assert curve_errors(weights) < 1e-12
