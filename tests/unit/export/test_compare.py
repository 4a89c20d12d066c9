from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fxsr.errors import UsageError
from fxsr.export.graph.graph import GraphOptions, model_facts, save_graph
from fxsr.export.verify.compare import ComparedModel
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.session import CPU
from tests.support import TINY, golden_checkpoint


def test_a_bfloat16_graph_finds_the_checkpoint_that_it_was_made_from_wherever_it_is_given(tmp_path: Path) -> None:
    checkpoint = replace(golden_checkpoint(TINY, 3), digest="d" * 64)
    options = GraphOptions("bf16")
    path = tmp_path / "g.onnx"
    save_graph(checkpoint, options, path)
    facts = model_facts(checkpoint, options)
    engine = ComparedModel(tmp_path / "g.plan", graph=facts)  # holds no checkpoint, as after a build
    (tmp_path / "other").mkdir()
    for graph, against in (
        (ComparedModel(path, checkpoint, facts), engine),
        (ComparedModel(path, graph=facts), ComparedModel(tmp_path / "c.safetensors", checkpoint)),
    ):
        OrtSession(graph.runnable(against, tmp_path / "other"), CPU).close()
    with pytest.raises(UsageError, match="can only be compared with the checkpoint"):
        ComparedModel(path, graph=facts).runnable(engine, tmp_path / "other")
