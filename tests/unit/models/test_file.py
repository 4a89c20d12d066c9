"""What kind of model file a path is."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from fxsr.errors import UsageError
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.models.file import ModelFileKind, engine_ending, engine_flavour, find_model, manifest_path, model_name
from fxsr.models.manifest import Flavour


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pth", ModelFileKind.CHECKPOINT),
        ("a.SafeTensors", ModelFileKind.CHECKPOINT),
        ("a.onnx", ModelFileKind.ONNX),
        ("a.plan", ModelFileKind.ENGINE),
        ("a.rtx.plan", ModelFileKind.ENGINE),
        ("a.engine", ModelFileKind.ENGINE),
        ("a.json", ModelFileKind.MANIFEST),
    ],
)
def test_the_ending_decides(name: str, kind: ModelFileKind, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    found = find_model(tmp_path / name, *ModelFileKind)
    assert (found.path, found.kind) == (tmp_path / name, kind)


def test_a_bundled_name_is_the_kind_that_is_accepted_first() -> None:
    graph = find_model(DEFAULT_MODEL, ModelFileKind.ENGINE, ModelFileKind.ONNX, ModelFileKind.CHECKPOINT)
    weights = find_model(DEFAULT_MODEL, ModelFileKind.CHECKPOINT, ModelFileKind.ONNX)
    assert (graph.kind, graph.path.suffix) == (ModelFileKind.ONNX, ".onnx")
    assert (weights.kind, weights.path.suffix) == (ModelFileKind.CHECKPOINT, ".safetensors")
    assert graph.path.is_file()
    assert weights.path.is_file()


def test_other_kinds_are_refused_with_the_endings_that_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(UsageError, match=r"this kind of file can't be used here; give a model file \(\.pth, \.pt, "):
        find_model(tmp_path / "a.onnx", ModelFileKind.CHECKPOINT)
    with pytest.raises(UsageError, match=r"this is a folder; give a model file \(\.onnx\)"):
        find_model(tmp_path, ModelFileKind.ONNX)
    with pytest.raises(UsageError, match="no such file, and not a bundled model"):
        find_model(tmp_path / "b.onnx", ModelFileKind.ONNX)


@pytest.mark.parametrize("flavour", get_args(Flavour))
def test_an_engines_name_tells_what_built_it(flavour: Flavour) -> None:
    path = Path("folder") / f"x-fp16{engine_ending(flavour)}"
    assert engine_flavour(path) == flavour
    assert model_name(path) == "x-fp16"
    assert manifest_path(path) == Path("folder/x-fp16.json")
