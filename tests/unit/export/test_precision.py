"""Which layers half precision is not enough for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fxsr.export.graph.graph import GraphOptions, layer_names, model_facts, save_graph
from fxsr.export.verify.cases import make_cases
from fxsr.export.verify.precision import choose_precision, fewest
from fxsr.export.verify.verify import ByteSession, threshold, verify
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CPU
from tests.support import TINY, TINY_RB, golden_checkpoint

NAMES = [f"layer{number}" for number in range(11)]


@pytest.mark.parametrize(
    "needed", [[], ["layer0"], ["layer10"], ["layer3", "layer4"], ["layer0", "layer5", "layer9"], NAMES]
)
def test_the_fewest_layers_are_found(needed: list[str]) -> None:
    asked: list[tuple[str, ...]] = []

    def enough(names: tuple[str, ...]) -> bool:
        asked.append(names)
        return set(needed) <= set(names)

    assert list(fewest(NAMES, enough)) == needed
    assert len(asked) < 50


def test_either_of_two_is_enough() -> None:
    assert len(fewest(NAMES, lambda names: "layer2" in names or "layer8" in names)) == 1


def test_the_last_convolution_stays_in_float32_where_layers_are_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the others alone would be enough."""
    monkeypatch.setattr(
        "fxsr.export.verify.precision._PrecisionTest.fault",
        lambda self, kept: None if "RB_trunk.1" in kept else "PSNR 40.0 dB, not 50",
    )
    choice = choose_precision(golden_checkpoint(TINY_RB, 1), GraphOptions("bf16"), lambda step: None)
    assert choice.options.kept_float32 == ("RB_trunk.1", "conv_last")
    assert choice.reasons["conv_last"].startswith("bfloat16's steps near white")
    assert choice.reasons["RB_trunk.1"] == "otherwise: PSNR 40.0 dB, not 50"


@pytest.mark.parametrize("packed", [False, True], ids=["apart", "packed"])
def test_layers_kept_in_float32_are_enough_for_a_graph_of_bytes(packed: bool, tmp_path: Path) -> None:
    """1/255 in bfloat16 is 1/254: if bytes were scaled by that, no layers would be enough."""
    checkpoint = golden_checkpoint(TINY, 1)
    choice = choose_precision(checkpoint, GraphOptions("bf16", io="uint8", packed=packed), lambda step: None)
    assert len(choice.options.kept_float32) < len(layer_names(TINY))
    limit = threshold(model_facts(checkpoint, choice.options))
    save_graph(checkpoint, replace(choice.options, emulate=True), tmp_path / "g.onnx")
    with TorchSession(checkpoint, CPU) as network, OrtSession(tmp_path / "g.onnx", CPU) as graph:
        assert verify(ByteSession(network), graph, limit, make_cases()).passed
