"""Style layers that learn while the network stays what it is at one t."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fxsr.models.config import COND_SLOPE, NetworkConfig, is_style
from fxsr.models.network import Generator, build_generator
from fxsr.training.initial import bias_of, style_branches
from fxsr.training.style_hold import StyleHold
from tests.support import TINY, TINY_RB, golden_checkpoint

BOTH = pytest.mark.parametrize("config", [TINY, TINY_RB])
LR = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def network(config: NetworkConfig) -> Generator:
    """A network whose styles have an effect at every t."""
    return build_generator(config, golden_checkpoint(config, 5).weights).requires_grad_(True)


def at(generator: Generator, t: float) -> Tensor:
    sr: Tensor = generator(LR, torch.full((1, 1, 1, 1), t))
    return sr


def learn(sr: Tensor) -> None:
    sr.square().mean().backward()  # type: ignore[no-untyped-call]


@BOTH
@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_whatever_the_parameters_become_one_t_stays(config: NetworkConfig, t: float) -> None:
    generator = network(config)
    hold, before = StyleHold(generator, t), at(generator, t)
    other = at(generator, 0.7)
    torch.manual_seed(0)
    with torch.no_grad():
        for key, parameter in generator.named_parameters():
            if is_style(key):
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
    assert (at(generator, t) - before).abs().max() > 5e-3
    hold.apply()
    torch.testing.assert_close(at(generator, t), before, rtol=1e-4, atol=1e-5)
    assert (at(generator, 0.7) - other).abs().max() > 1e-3


@BOTH
def test_gradients_are_those_of_a_network_whose_biases_follow(config: NetworkConfig) -> None:
    generator = network(config)
    hold = StyleHold(generator, 1)
    twin = deepcopy(generator)
    learn(at(generator, 0.3))
    hold.pass_on()

    follow: dict[str, Tensor] = dict(twin.named_parameters())
    names = {id(parameter): key for key, parameter in follow.items()}
    cond = twin.CondNet(torch.ones(1, 1, 1, 1))
    for first, last in style_branches(twin):
        hidden = nn.functional.leaky_relu(first(cond), COND_SLOPE)
        without = nn.functional.conv2d(hidden, last.weight).flatten()
        held = (without + bias_of(last)).detach()
        follow[names[id(last.bias)]] = held - without
    sr = functional_call(twin, follow, (LR, torch.full((1, 1, 1, 1), 0.3)))
    learn(sr)
    for (key, ours), wanted in zip(generator.named_parameters(), twin.parameters(), strict=True):
        if wanted.grad is None:
            assert ours.grad is None, key
        else:
            torch.testing.assert_close(ours.grad, wanted.grad, rtol=1e-4, atol=1e-7, msg=key)
