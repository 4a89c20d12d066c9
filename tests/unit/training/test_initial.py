"""What networks begin with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from fxsr.errors import CheckpointError
from fxsr.models.checkpoint import load_start, save_checkpoint
from fxsr.models.config import NetworkConfig, is_style
from fxsr.models.network import Generator, build_generator
from fxsr.training.initial import initialise, restart_style
from tests.support import TINY, TINY_RB, golden_checkpoint

BOTH = pytest.mark.parametrize("config", [TINY, TINY_RB])


def moves(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def upscale(generator: Generator, t: float) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        sr: Tensor = generator(torch.rand(1, 3, 8, 8), torch.full((1, 1, 1, 1), float(t)))
    return sr


@BOTH
def test_a_fresh_network_knows_no_styles_but_every_part_can_learn_them(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    generator = initialise(Generator(config))
    assert torch.equal(upscale(generator, 0), upscale(generator, 1))
    descent = torch.optim.SGD(generator.parameters(), 1.0)
    for _ in range(2):  # the last layers move first, then those before them
        descent.zero_grad()
        generator(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1)).square().mean().backward()
        descent.step()
    still = [name for name, p in generator.named_parameters() if is_style(name) and not moves(p)]
    assert not still


@BOTH
def test_restarted_style_layers_do_at_every_t_what_they_did_at_0(config: NetworkConfig) -> None:
    checkpoint = golden_checkpoint(config, 3)
    before = build_generator(config, checkpoint.weights)
    after = restart_style(build_generator(config, checkpoint.weights))
    assert (upscale(before, 0) - upscale(before, 1)).abs().max() > 1e-3
    for t in (0.0, 0.4, 1.0):
        torch.testing.assert_close(upscale(after, t), upscale(before, 0), rtol=1e-4, atol=1e-5)


@BOTH
def test_a_network_that_is_given_more_blocks_computes_what_it_did(config: NetworkConfig, tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(config, 3)
    save_checkpoint(tmp_path / "small.safetensors", checkpoint)
    larger = replace(config, nb=config.nb + 2)
    torch.manual_seed(0)
    fresh = {key: value.numpy() for key, value in initialise(Generator(larger)).state_dict().items()}
    grown = build_generator(larger, load_start(tmp_path / "small.safetensors", larger, fresh))
    before = build_generator(config, checkpoint.weights)
    for t in (0.0, 1.0):
        torch.testing.assert_close(upscale(grown, t), upscale(before, t), rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match=f"small.safetensors: has {config.nb} blocks; where styles alone learn"):
        load_start(tmp_path / "small.safetensors", larger, fresh, grow=False)
    with pytest.raises(CheckpointError, match="extra"):
        load_start(tmp_path / "small.safetensors", replace(config, nb=config.nb - 1 or 1, scale=2), fresh)


@pytest.mark.parametrize("init_t", [0, 1])
def test_styles_begin_in_proportion_to_the_distance_from_the_t_that_is_kept(init_t: Literal[0, 1]) -> None:
    torch.manual_seed(0)
    generator = initialise(Generator(TINY), init_t)
    with torch.no_grad():
        kept, half, other = (generator.CondNet(torch.full((1, 1, 1, 1), float(t))) for t in (init_t, 0.5, 1 - init_t))
    assert not kept.any()
    torch.testing.assert_close(2 * half, other)
    assert other.abs().max() > 0.1


@pytest.mark.parametrize("init_t", [0, 1])
def test_only_other_styles_move_the_weights_of_style_layers_at_first(init_t: Literal[0, 1]) -> None:
    torch.manual_seed(0)
    generator = initialise(Generator(TINY), init_t)
    last = [p for name, p in generator.named_parameters() if name.endswith("conv1.weight") and "SFT" in name]
    for t, moved in ((init_t, False), (1 - init_t, True)):
        generator.zero_grad()
        generator(torch.rand(1, 3, 8, 8), torch.full((1, 1, 1, 1), float(t))).sum().backward()
        assert all(moves(p) == moved for p in last)
