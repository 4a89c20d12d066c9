"""Which shapes an engine is built for."""

from __future__ import annotations

from typing import Any

import pytest

from fxsr.errors import UsageError
from fxsr.export.engine.engine import check_options
from fxsr.export.engine.profiles import engine_profiles, parse_tiles
from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.models.manifest import BuildOptions, ModelFacts
from tests.support import TINY, golden_checkpoint


def facts(**options: Any) -> ModelFacts:
    return model_facts(golden_checkpoint(TINY, 1), GraphOptions(**options))


def test_one_size_is_smallest_usual_and_largest() -> None:
    full, uniform = engine_profiles(facts(), parse_tiles(96, None, "2"))
    assert full.inputs["lr"].min == full.inputs["lr"].opt == full.inputs["lr"].max == (2, 3, 96, 96)
    assert full.inputs["t_map"].max == (2, 1, 96, 96)
    assert uniform.inputs["lr"] == full.inputs["lr"]
    assert uniform.inputs["t_map"].max == (2, 1, 1, 1)


def test_bytes_have_their_channels_last() -> None:
    full, _ = engine_profiles(facts(io="uint8"), parse_tiles(None, "8x16,24x32,40x48", "1,2,3"))
    assert full.inputs["lr"].min == (1, 8, 16, 3)
    assert full.inputs["lr"].opt == (2, 24, 32, 3)
    assert full.inputs["t_map"].max == (3, 1, 40, 48)


@pytest.mark.parametrize(("options", "name", "channels"), [({"packed": True}, "lr_t", 4), ({"baked_t": 0.5}, "lr", 3)])
def test_a_graph_without_style_map_has_one_profile(options: dict[str, Any], name: str, channels: int) -> None:
    (profile,) = engine_profiles(facts(**options), parse_tiles(None, None, "1"))
    assert profile.inputs[name].opt == (1, channels, 256, 256)
    assert list(profile.inputs) == [name]


@pytest.mark.parametrize(
    ("shapes", "warned"),
    [("64x64,256x256,256x256", False), ("64x64,128x128,256x256", False), ("64x64,127x256,256x256", True)],
)
def test_a_usual_size_far_below_the_largest_is_warned_of(shapes: str, warned: bool) -> None:
    assert (parse_tiles(None, shapes, "1").warning is not None) == warned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_capabilities": ("8.6",)}, "builds for this machine's GPU"),
        ({"opt_level": -1}, "must be 0 to 5"),
    ],
)
def test_what_tensorrt_never_does_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_options("tensorrt", BuildOptions(**options), timing_cache=True)
    check_options("tensorrt", BuildOptions(version_compatible=True, refit=True, opt_level=5), timing_cache=True)
