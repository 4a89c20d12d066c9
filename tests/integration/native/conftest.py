"""The C library, built once, and a tiny model for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from tests.native import Native, build_native, onnxruntime_library
from tests.support import TINY, golden_checkpoint


@pytest.fixture(scope="session")
def built() -> Path:
    """The build folder of the library and its examples."""
    return build_native()


@pytest.fixture
def native(built: Path, monkeypatch: pytest.MonkeyPatch) -> Native:
    monkeypatch.setenv("FXSR_ONNXRUNTIME", str(onnxruntime_library()))
    return Native(built / "libfxsr.so")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, x4."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(), path)
    return path
