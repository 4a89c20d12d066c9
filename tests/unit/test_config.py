from __future__ import annotations

import json

import pytest

from fxsr.config import NetworkConfig, infer_config, state_shapes
from fxsr.errors import CheckpointError, UsageError
from tests.support import CASES, GOLDEN


@pytest.mark.parametrize("case", CASES)
def test_names_and_shapes_are_those_of_the_published_checkpoints(case: str) -> None:
    published = json.loads((GOLDEN / "state_dict_keys.json").read_text())[case]
    assert state_shapes(CASES[case]) == {key: tuple(shape) for key, shape in dict(published).items()}


@pytest.mark.parametrize(("scale", "parameters"), [(4, 18_301_061), (8, 18_337_989)])
def test_published_sizes(scale: int, parameters: int) -> None:
    assert NetworkConfig(scale=scale).parameters == parameters


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(scale=2, nf=32, gc=16, nb=4, nc=16),
        NetworkConfig(scale=8, nf=48, gc=24, nb=11, nc=8),
        NetworkConfig(scale=4, nf=1, gc=2, nb=1, nc=3),
    ],
)
def test_config_is_inferred_from_shapes(config: NetworkConfig) -> None:
    assert infer_config(state_shapes(config)) == config


@pytest.mark.parametrize("field", ["nf", "gc", "nb", "nc"])
def test_sizes_below_one_are_refused(field: str) -> None:
    with pytest.raises(UsageError, match=f"{field} is 0"):
        NetworkConfig(**{field: 0})


def test_scale_3_is_refused() -> None:
    with pytest.raises(UsageError, match="scale is 3; it must be one of 2, 4, 8"):
        NetworkConfig(scale=3)


def test_a_missing_parameter_is_named() -> None:
    shapes = state_shapes(NetworkConfig(nb=1))
    del shapes["HRconv.bias"]
    with pytest.raises(CheckpointError, match=r"missing: HRconv\.bias"):
        infer_config(shapes)


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
