"""Which part of ONNX Runtime runs a graph, and what its failures become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.errors import DeviceError, FxsrError, OutOfMemoryError, UnavailableError, UsageError
from fxsr.models.bundled import DEFAULT_MODEL, bundled_file
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.providers import open_graph
from fxsr.runtime.open import open_session
from fxsr.runtime.session import CPU, Device

GRAPH = bundled_file(DEFAULT_MODEL, ".onnx")


@pytest.mark.parametrize(
    ("provider", "device", "message"),
    [
        ("cuda12", "auto", "provider is 'cuda12'; it must be one of auto, cpu, cuda"),
        ("cpu", "cuda", "provider cpu does not run on cuda:0"),
        ("tensorrt", "cpu", "provider tensorrt does not run on cpu"),
    ],
)
def test_what_contradicts_itself_is_refused(provider: str, device: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_session(DEFAULT_MODEL, device, provider=provider)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "tensorrt-rtx"])
def test_a_provider_that_is_not_here_is_an_error_and_not_the_cpu(provider: str) -> None:
    import onnxruntime as ort

    if len(ort.get_available_providers()) > 2:
        pytest.skip("this ONNX Runtime has providers for GPUs")
    with pytest.raises(DeviceError, match=r"has no|is not installed|can't be loaded|finds no GPU"):
        open_graph(GRAPH, Device("auto"), provider)


def test_auto_takes_the_cpu_where_nothing_else_is() -> None:
    graph = open_graph(GRAPH, CPU)
    assert (graph.provider, graph.device) == ("cpu", CPU)
    assert graph.session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9", OutOfMemoryError),
        ("6 : RUNTIME_EXCEPTION : std::bad_alloc", OutOfMemoryError),
        ("Got invalid dimensions for input: lr", FxsrError),
    ],
)
def test_failures_are_told_apart_by_what_they_say(said: str, error: type[FxsrError]) -> None:
    class Failing:
        def run(self, *arguments: Any) -> None:
            raise RuntimeError(said)

    with OrtSession(GRAPH, CPU) as session:
        session._session = Failing()
        with pytest.raises(FxsrError) as caught:
            session.run(np.zeros((2, 3, 8, 9), np.float32), np.zeros((1, 1, 1, 1), np.float32))
    assert type(caught.value) is error
    assert "9x8" in str(caught.value)


def test_an_engine_on_the_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="runs on NVIDIA GPUs only"):
        open_session(_file(tmp_path / "x.plan"), "cpu")


def _file(path: Path) -> Path:
    path.write_bytes(b"")
    return path
