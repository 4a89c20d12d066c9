from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fxsr.models.config import NetworkConfig, state_shapes
from fxsr.models.network import Generator, build_generator, compile_blocks
from tests.support import CASES, STYLES, TINY, TINY_RB, golden_checkpoint, golden_vectors, relative

GOLDEN_TOLERANCE = 1e-4
"""What the golden vectors' README promises of a correct network; this one comes to about 1e-6."""


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_authors_network(case: str) -> None:
    golden = golden_vectors(case)
    generator = build_generator(CASES[case], golden_checkpoint(CASES[case], int(golden["seed"])).weights)
    height, width = golden["lr"].shape[2:]
    t_maps = {name: np.full((1, 1, height, width), t, np.float32) for name, t in STYLES.items()}
    with torch.inference_mode():
        for name, t_map in (t_maps | {"sr_map": golden["t_map"]}).items():
            sr = generator(torch.from_numpy(golden["lr"]), torch.from_numpy(t_map))
            assert relative(sr.numpy(), golden[name]) < GOLDEN_TOLERANCE, name


@pytest.mark.parametrize("config", [TINY, TINY_RB], ids=["rrdb", "rb"])
def test_uniform_t_as_1x1_equals_full_map(config: NetworkConfig) -> None:
    generator = build_generator(config, golden_checkpoint(config, 1).weights)
    lr = torch.rand(2, 3, 9, 7)
    with torch.inference_mode():
        small = generator(lr, torch.full((1, 1, 1, 1), 0.3))
        full = generator(lr, torch.full((2, 1, 9, 7), 0.3))
    assert relative(small.numpy(), full.numpy()) < 1e-5


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_output_is_scale_times_the_input(scale: int) -> None:
    config = NetworkConfig(scale=scale, nf=4, gc=2, nb=1, nc=2)
    with torch.inference_mode():
        sr = Generator(config)(torch.rand(1, 3, 5, 6), torch.rand(1, 1, 5, 6))
    assert sr.shape == (1, 3, 5 * scale, 6 * scale)


@pytest.mark.parametrize(
    "config",
    [NetworkConfig(scale=8, nf=6, gc=3, nb=2, nc=5), NetworkConfig(scale=8, trunk="rb", nf=6, gc=0, nb=2, nc=5)],
    ids=["rrdb", "rb"],
)
def test_the_module_and_the_shape_table_agree(config: NetworkConfig) -> None:
    module = {key: tuple(value.shape) for key, value in Generator(config).state_dict().items()}
    assert module == state_shapes(config)


@pytest.mark.parametrize("config", [replace(TINY, nb=4), replace(TINY_RB, nb=9)], ids=["rrdb", "rb"])
def test_blocks_are_compiled_once_for_all(config: NetworkConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[torch.fx.GraphModule] = []
    real = torch.compile

    def count(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend=count))
    generator = build_generator(config, golden_checkpoint(config, 1).weights)
    lr, t = torch.rand(1, 3, 6, 6), torch.full((1, 1, 1, 1), 0.3)
    with torch.no_grad():
        plain = generator(lr, t)
        compile_blocks(generator)
        assert torch.equal(generator(lr, t), plain)
    assert len(graphs) == 1
    assert sorted(generator.state_dict()) == sorted(state_shapes(config))
