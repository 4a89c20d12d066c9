"""ONNX files whose description, which anyone can edit, is not true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fxsr.errors import ModelFileError, UsageError
from fxsr.export.exporter import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.runtime.backends.onnxruntime import OrtSession, read_facts
from fxsr.runtime.session import CPU
from tests.support import TINY, golden_checkpoint


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "a.onnx"
    write_onnx(golden_checkpoint(TINY, 3), GraphOptions(), path)
    return path


def edit(graph: Path, path: Path, change: Any) -> Path:
    model = onnx.load(graph)
    document = json.loads(model.metadata_props[0].value)
    change(document)
    model.metadata_props[0].value = json.dumps(document)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(inputs=[]), "the graph must have the inputs lr, t_map"),
        (lambda d: d["inputs"][0].update(dtype="float99"), "float99"),
        (
            lambda d: [each.update(dtype="float16") for each in (*d["inputs"], *d["outputs"])],
            "its description promises lr of type float16 .* which the graph does not have; export it again",
        ),
        (lambda d: d.update(baked_t=0.5, inputs=d["inputs"][:1]), "its description promises lr"),
    ],
)
def test_a_description_that_the_graph_contradicts_is_refused(
    graph: Path, change: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=message):
        OrtSession(edit(graph, tmp_path / "b.onnx", change), CPU)


def test_a_graph_of_another_scale_is_refused_when_it_runs(graph: Path, tmp_path: Path) -> None:
    path = edit(graph, tmp_path / "b.onnx", lambda d: d["config"].update(scale=8))
    with (
        OrtSession(path, CPU) as session,
        pytest.raises(ModelFileError, match=r"has the shape \(1, 3, 64, 64\), not \(1, 3, 128, 128\)"),
    ):
        session.run(np.zeros((1, 3, 16, 16), np.float32), np.zeros((1, 1, 1, 1), np.float32))


@pytest.mark.parametrize(
    ("lr", "t_map", "message"),
    [
        (
            (1, 3, 16, 20),
            (1, 1, 20, 16),
            r"t_map has the shape \(1, 1, 20, 16\); for lr of \(1, 3, 16, 20\) it must be",
        ),
        ((2, 3, 16, 16), (3, 1, 1, 1), r"or \(2, 1, 16, 16\) for one style per pixel"),
        ((1, 3, 16, 16), (16, 16), "it must be"),
        ((3, 16, 16), (1, 1, 1, 1), r"lr has the shape \(3, 16, 16\); it must be \(N, 3, H, W\)"),
    ],
)
def test_arrays_of_other_shapes_are_refused(
    lr: tuple[int, ...], t_map: tuple[int, ...], message: str, graph: Path
) -> None:
    with OrtSession(graph, CPU) as session, pytest.raises(UsageError, match=message):
        session.run(np.zeros(lr, np.float32), np.zeros(t_map, np.float32))


def test_metadata_that_are_not_utf8_are_refused(graph: Path, tmp_path: Path) -> None:
    data = graph.read_bytes()
    at = data.rindex(b'"name"')
    (tmp_path / "b.onnx").write_bytes(data[:at] + b'"n\xffme"' + data[at + 6 :])
    with pytest.raises(ModelFileError, match=r"b\.onnx: "):
        read_facts(tmp_path / "b.onnx")
    with pytest.raises(ModelFileError, match=r"b\.onnx: "):
        OrtSession(tmp_path / "b.onnx", CPU)


@pytest.mark.parametrize("read", [read_facts, lambda path: OrtSession(path, CPU)])
def test_a_git_lfs_pointer_is_named(read: Any, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelFileError, match="not an ONNX file: this is a Git LFS pointer"):
        read(tmp_path / "a.onnx")


def test_a_closed_session_says_so(graph: Path) -> None:
    session = OrtSession(graph, CPU)
    session.close()
    with pytest.raises(UsageError, match="this session is closed; open the model again"):
        session.run(np.zeros((1, 3, 16, 16), np.float32), np.zeros((1, 1, 1, 1), np.float32))
