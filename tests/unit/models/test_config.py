from __future__ import annotations

import json

import pytest

from fxsr.errors import CheckpointError, UsageError
from fxsr.models.config import NetworkConfig, infer_config, sft_layers, state_shapes
from tests.support import CASES, GOLDEN


@pytest.mark.parametrize("case", CASES)
def test_names_and_shapes_are_those_of_the_published_checkpoints(case: str) -> None:
    published = json.loads((GOLDEN / "state_dict_keys.json").read_text())[case]
    assert state_shapes(CASES[case]) == {key: tuple(shape) for key, shape in dict(published).items()}


@pytest.mark.parametrize(("scale", "parameters"), [(4, 18_301_061), (8, 18_337_989)])
def test_published_sizes(scale: int, parameters: int) -> None:
    assert NetworkConfig(scale=scale).parameters == parameters


def test_size_with_sixteen_residual_blocks() -> None:
    assert NetworkConfig(trunk="rb", nb=16, gc=0).parameters == 1_535_749


def test_sft_layers_come_in_the_order_of_the_network() -> None:
    names = sft_layers(NetworkConfig(trunk="rb", nb=2, gc=0))
    assert names == [f"RB_trunk.{block}.sft{layer}" for block in (0, 1) for layer in (0, 1)]
    names = sft_layers(NetworkConfig(nb=2))
    assert names == [f"RRDB_trunk.{b}.RDB{d}.sft{layer}" for b in (0, 1) for d in (1, 2, 3) for layer in range(5)]


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(scale=2, nf=32, gc=16, nb=4, nc=16),
        NetworkConfig(scale=8, nf=48, gc=24, nb=11, nc=8),
        NetworkConfig(scale=4, nf=1, gc=2, nb=1, nc=3),
        NetworkConfig(trunk="rb", nb=16, gc=0),
        NetworkConfig(scale=2, trunk="rb", nf=24, gc=0, nb=11, nc=8),
    ],
)
def test_config_is_inferred_from_shapes(config: NetworkConfig) -> None:
    assert infer_config(state_shapes(config)) == config


@pytest.mark.parametrize("sound", [NetworkConfig(), NetworkConfig(trunk="rb", nb=16, gc=0)], ids=["rrdb", "rb"])
@pytest.mark.parametrize("field", ["nf", "nb", "nc"])
def test_sizes_below_one_are_refused(sound: NetworkConfig, field: str) -> None:
    with pytest.raises(UsageError, match=f"{field} is 0; it must be from 1 to"):
        NetworkConfig(**vars(sound) | {field: 0})


@pytest.mark.parametrize(("field", "most"), [("nf", 4096), ("gc", 4096), ("nc", 4096), ("nb", 200)])
def test_sizes_beyond_all_measure_are_refused(field: str, most: int) -> None:
    assert vars(NetworkConfig(**{field: most}))[field] == most  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"{field} is {10**8}; it must be from 1 to {most}"):
        NetworkConfig(**{field: 10**8})  # type: ignore[arg-type]


def test_dense_blocks_need_growth() -> None:
    with pytest.raises(UsageError, match="gc is 0; it must be from 1 to 4096"):
        NetworkConfig(gc=0)


def test_residual_blocks_have_no_growth() -> None:
    with pytest.raises(UsageError, match="gc is 32; it must be 0 with trunk rb"):
        NetworkConfig(trunk="rb", nb=16)


def test_an_unknown_trunk_is_refused() -> None:
    with pytest.raises(UsageError, match="trunk is 'swin'; it must be one of rrdb, rb"):
        NetworkConfig(trunk="swin")


def test_scale_3_is_refused() -> None:
    with pytest.raises(UsageError, match="scale is 3; it must be one of 2, 4, 8"):
        NetworkConfig(scale=3)


def test_a_missing_parameter_is_named() -> None:
    shapes = state_shapes(NetworkConfig(nb=1))
    del shapes["HRconv.bias"]
    with pytest.raises(CheckpointError, match=r"missing: HRconv\.bias"):
        infer_config(shapes)


def test_a_missing_parameter_of_a_residual_block_is_named() -> None:
    shapes = state_shapes(NetworkConfig(trunk="rb", nb=2, gc=0))
    del shapes["RB_trunk.0.conv0.weight"]
    with pytest.raises(CheckpointError, match=r"missing: RB_trunk\.0\.conv0\.weight$"):
        infer_config(shapes)


def test_two_trunks_at_once_are_refused() -> None:
    both = state_shapes(NetworkConfig(nb=3)) | state_shapes(NetworkConfig(trunk="rb", nb=2, gc=0))
    with pytest.raises(CheckpointError, match=r"extra: RRDB_trunk\.0\."):
        infer_config(both)


def test_an_extra_parameter_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"extra: attention\.weight"):
        infer_config(state_shapes(NetworkConfig(nb=1)) | {"attention.weight": (1,)})


def test_a_wrong_shape_is_named_with_both_shapes() -> None:
    shapes = state_shapes(NetworkConfig(nb=1)) | {"trunk_conv.bias": (65,)}
    with pytest.raises(CheckpointError, match=r"trunk_conv\.bias is \[65\], not \[64\]"):
        infer_config(shapes)


@pytest.mark.parametrize("key", ["model.0.weight", "RRDB_trunk.0.RDB1.conv1.weight", "body.0.rdb1.conv1.weight"])
def test_an_esrgan_state_dict_is_recognised(key: str) -> None:
    with pytest.raises(CheckpointError, match="ESRGAN generator: it has no style layers"):
        infer_config({key: (32, 64, 3, 3), "conv_first.weight": (64, 3, 3, 3)})


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not the parameters of an FxSR generator: missing"):
        infer_config({})
