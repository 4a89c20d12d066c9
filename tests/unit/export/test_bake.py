"""A style fixed in the weights is the same network, borders included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from fxsr.errors import UsageError
from fxsr.export import write_onnx
from fxsr.export.graph.bake import bake, esrgan_weights, modulation
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.checkpoint import Checkpoint
from fxsr.models.config import NetworkConfig
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CPU
from tests.support import TINY, TINY_RB, golden_checkpoint, relative

EXACT = 1e-5


def compare(checkpoint: Checkpoint, t: float, folder: Path, blocked: bool = True) -> float:
    lr = np.random.default_rng(1).random((2, 3, 7, 5), np.float32)
    style = np.full((1, 1, 1, 1), t, np.float32)
    write_onnx(checkpoint, GraphOptions(baked_t=t, blocked=blocked), folder / "g.onnx")
    with TorchSession(checkpoint, CPU) as torch, OrtSession(folder / "g.onnx", CPU) as graph:
        return relative(graph.run(lr, style), torch.run(lr, style))


@pytest.mark.parametrize("config", [TINY, TINY_RB, replace(TINY, scale=8), replace(TINY, scale=2)])
@pytest.mark.parametrize("t", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("blocked", [True, False])
def test_the_baked_graph_agrees_with_the_network(
    config: NetworkConfig, t: float, blocked: bool, tmp_path: Path
) -> None:
    assert compare(golden_checkpoint(config, 7), t, tmp_path, blocked) < EXACT


@pytest.mark.parametrize("config", [TINY, TINY_RB])
@pytest.mark.parametrize("scale", [-2.0, -1.0, -1.0 + 1e-9])
@pytest.mark.parametrize("blocked", [True, False])
def test_scales_that_are_negative_or_nothing(
    config: NetworkConfig, scale: float, blocked: bool, tmp_path: Path
) -> None:
    checkpoint = golden_checkpoint(config, 7)
    ends = {key: np.full_like(value, scale) for key, value in checkpoint.weights.items() if "scale_conv1.bias" in key}
    zero = {key: value * 0 for key, value in checkpoint.weights.items() if "scale_conv1.weight" in key}
    changed = Checkpoint(config, dict(checkpoint.weights) | ends | zero, checkpoint.about)
    assert compare(changed, 0.5, tmp_path, blocked) < EXACT


def test_no_style_layer_and_no_multiplication_by_one_is_left(tmp_path: Path) -> None:
    write_onnx(golden_checkpoint(TINY, 7), GraphOptions(baked_t=0.5, blocked=False), tmp_path / "g.onnx")
    graph = onnx.load(tmp_path / "g.onnx").graph
    assert [each.name for each in graph.input] == ["lr"]
    assert not any("SFT" in weight.name or "CondNet" in weight.name for weight in graph.initializer)
    multiplications = [node.name for node in graph.node if node.op_type == "Mul" and not node.name.startswith("size")]
    assert multiplications == [f"RRDB_trunk.{index}.mul" for index in range(TINY.nb)]  # the residual scale


def test_modulation_by_hand() -> None:
    config = NetworkConfig(nf=1, gc=1, nb=1, nc=1)
    weights = {key: value * 0 for key, value in golden_checkpoint(config, 0).weights.items()}
    sft = "RRDB_trunk.0.RDB1.sft1"
    for key, value in {
        "CondNet.0.weight": -1,
        "CondNet.2.weight": 10,
        f"{sft}.SFT_scale_conv0.weight": 1,
        f"{sft}.SFT_scale_conv1.weight": 3,
        f"{sft}.SFT_shift_conv0.weight": -2,
        f"{sft}.SFT_shift_conv1.weight": 1,
        f"{sft}.SFT_shift_conv1.bias": 0.5,
    }.items():
        weights[key] = weights[key] + value
    # t = 0.5: -0.5 -> leaky -0.05 -> cond -0.5; scale: leaky -0.05 * 3 + 1; shift: leaky(1) * 1 + 0.5
    scale, shift = modulation(weights, sft, 0.5)
    assert scale == pytest.approx([0.85])
    assert shift == pytest.approx([1.5])


def test_as_an_esrgan_it_agrees_inside_and_differs_at_the_borders(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 7)
    plain = esrgan_weights(TINY, bake(TINY, checkpoint.weights, 0.5))
    assert not any("sft" in key or "CondNet" in key for key in plain)
    # the same network with style layers that do nothing is that ESRGAN
    still = {key: value * 0 for key, value in checkpoint.weights.items() if key not in plain}
    lr = np.random.default_rng(1).random((1, 3, 40, 40), np.float32)
    style = np.full((1, 1, 1, 1), 0.5, np.float32)
    with (
        TorchSession(checkpoint, CPU) as torch,
        TorchSession(Checkpoint(TINY, plain | still, checkpoint.about), CPU) as esrgan,
    ):
        wanted, found = torch.run(lr, style), esrgan.run(lr, style)
    middle = (..., slice(76, 84), slice(76, 84))
    assert relative(found[middle], wanted[middle]) < EXACT
    assert relative(found, wanted) > 10 * EXACT


def test_what_cannot_be_an_esrgan_is_refused() -> None:
    with pytest.raises(UsageError, match="this network has none"):
        esrgan_weights(TINY_RB, bake(TINY_RB, golden_checkpoint(TINY_RB, 7).weights, 0.5))
