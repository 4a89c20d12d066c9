"""Which part of ONNX Runtime runs a graph, and what its failures become."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fxsr.errors import DeviceError, DeviceLostError, FxsrError, OutOfMemoryError, UnavailableError, UsageError
from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.bundled import DEFAULT_MODEL, bundled_file
from fxsr.models.manifest import Precision
from fxsr.runtime.backends import cuda_libraries, providers
from fxsr.runtime.backends.cuda_libraries import LibrarySearch, load_cuda_libraries, nvidia_folders
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.providers import open_graph
from fxsr.runtime.open import open_session
from fxsr.runtime.session import CPU, Device, tile_error
from tests.support import TINY, golden_checkpoint

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


class StandIn:
    """ONNX Runtime for GPUs on a machine where its CUDA provider can't be loaded: it complains to standard output, from
    Python and from C++, and falls back to the CPU."""

    GraphOptimizationLevel = SimpleNamespace(ORT_DISABLE_ALL=0)
    cuda_version = "13.0"

    def __init__(self, usable: tuple[str, ...] = ("CPUExecutionProvider",)) -> None:
        self.usable = usable
        self.asked: list[Any] = []
        self.fallback = True

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        print("Failed to load libcudnn.so.9")

    def SessionOptions(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace()

    def InferenceSession(self, path: str, options: Any, providers: list[Any]) -> Any:  # noqa: N802
        self.asked = providers
        names = [each if isinstance(each, str) else each[0] for each in providers]
        if len(names) > 1:
            print("*************** EP Error ***************")
            os.write(1, b"Failed to create CUDAExecutionProvider\n")
        taken = [name for name in names if name in self.usable]
        facts = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta()
        return SimpleNamespace(
            get_providers=lambda: taken,
            get_modelmeta=lambda: facts,
            disable_fallback=lambda: setattr(self, "fallback", False),
        )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    monkeypatch.setattr(providers, "import_onnxruntime", lambda: found)
    return found


def test_complaints_do_not_reach_standard_output(stand_in: StandIn, capfd: pytest.CaptureFixture[str]) -> None:
    graph = open_graph(GRAPH, Device("auto"))
    assert graph.device == CPU
    assert capfd.readouterr().out == ""


def test_output_works_after_a_session_was_created(stand_in: StandIn, capfd: pytest.CaptureFixture[str]) -> None:
    open_graph(GRAPH, Device("auto"))
    print("from Python", flush=True)
    os.write(1, b"from C\n")
    assert capfd.readouterr().out == "from Python\nfrom C\n"


def test_a_cpu_that_stands_in_for_a_gpu_is_noted_in_one_line(stand_in: StandIn) -> None:
    note = open_graph(GRAPH, Device("auto")).note
    assert note.startswith("running on the CPU: cuda:0 can't be used by ONNX Runtime (")
    assert "\n" not in note
    assert "--device" not in note


def test_a_gpu_that_was_asked_for_is_an_error_that_names_what_is_missing_where(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = LibrarySearch(("libcudnn.so.*",), (Path("/site/nvidia/cu13/lib"),))
    monkeypatch.setattr(providers, "load_cuda_libraries", lambda version: search)
    with pytest.raises(DeviceError, match=r"nor /site/nvidia/cu13/lib has libcudnn\.so\.\*"):
        open_graph(GRAPH, Device("cuda"))


def test_a_session_on_a_gpu_never_starts_again_on_the_cpu(stand_in: StandIn) -> None:
    stand_in.usable = ("CUDAExecutionProvider", "CPUExecutionProvider")
    graph = open_graph(GRAPH, Device("auto"))
    assert (graph.provider, graph.device, graph.note) == ("cuda", Device("cuda"), "")
    assert not stand_in.fallback


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_computes_in_half_precision_what_is_in_half_precision(
    precision: Precision, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(precision), tmp_path / "x.onnx")
    stand_in.usable = ("TensorrtExecutionProvider",)
    assert open_graph(tmp_path / "x.onnx", Device("cuda"), "tensorrt").provider == "tensorrt"
    (_, options), *_ = stand_in.asked
    assert options["trt_fp16_enable"] is (precision == "fp16")


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are named otherwise")
def test_libraries_are_looked_for_in_the_packages_of_nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("cudart", "cublasLt", "cublas", "curand")
    for folder, files in (("cu13", names), ("cudnn", ("cudnn", "cudnn_graph"))):
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        for name in files:
            (tmp_path / "nvidia" / folder / "lib" / f"lib{name}.so.13").touch()
    opened: list[str] = []

    def load(path: str, mode: int = 0) -> str | None:
        if mode == os.RTLD_NOLOAD:
            return None
        opened.append(Path(path).name)
        return path

    monkeypatch.setattr(cuda_libraries, "_open", load)
    monkeypatch.syspath_prepend(tmp_path)
    folders = [folder for folder in nvidia_folders() if tmp_path in folder.parents]
    assert [folder.parent.name for folder in folders] == ["cu13", "cudnn"]
    assert load_cuda_libraries("13.0", folders).missing == ()
    assert {"libcudart.so.13", "libcublas.so.13", "libcudnn.so.13", "libcudnn_graph.so.13"} <= set(opened)


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are named otherwise")
def test_a_library_that_is_loaded_gets_no_second_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cudart.so.13", "cudnn.so.9", "cudnn_graph.so.9"):
        (tmp_path / f"lib{name}").touch()
    opened: list[str] = []

    def load(path: str, mode: int = 0) -> str | None:
        if mode == os.RTLD_NOLOAD:
            return path if path == "libcudnn.so.9" else None
        opened.append(path)
        return path

    monkeypatch.setattr(cuda_libraries, "_open", load)
    assert load_cuda_libraries("13.0", [tmp_path]).missing == ()
    assert str(tmp_path / "libcudart.so.13") in opened
    assert not [path for path in opened if "cudnn" in path]


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are named otherwise")
def test_whether_a_library_is_loaded_is_asked_of_the_loader() -> None:
    assert cuda_libraries._is_loaded("libc.so.6")
    assert not cuda_libraries._is_loaded("libcudnn.so.9")


def test_libraries_of_packages_come_before_those_of_the_system(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(providers, "load_cuda_libraries", lambda version: asked.append("ours"))
    monkeypatch.setattr(stand_in, "preload_dlls", lambda: asked.append("ONNX Runtime's"))
    open_graph(GRAPH, Device("auto"))
    assert asked == ["ours", "ONNX Runtime's"]


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are named otherwise")
def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda_libraries, "_open", lambda path, mode=0: None)
    search = load_cuda_libraries("13.0", [tmp_path])
    names = ("cudart.so.13", "cublasLt.so.13", "cublas.so.13", "curand.so.*", "cudnn.so.*")
    assert search.missing == tuple(f"lib{name}" for name in names)
    assert str(tmp_path) in str(search)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
        "CUDNN_STATUS_EXECUTION_FAILED: unspecified launch failure",
    ],
)
def test_an_error_after_which_cuda_is_unusable_is_told_apart(said: str) -> None:
    lr = np.zeros((1, 3, 8, 9), np.float32)
    assert isinstance(tile_error("ONNX Runtime", re.compile("out of memory"), lr, RuntimeError(said)), DeviceLostError)


@pytest.mark.parametrize(("precision", "noted"), [("fp32", False), ("fp16", True)])
def test_half_precision_on_a_cpu_is_noted(precision: Precision, noted: bool, tmp_path: Path) -> None:
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(precision), tmp_path / "x.onnx")
    with open_session(tmp_path / "x.onnx", "cpu") as session:
        assert ("computes in fp16, which CPUs do more slowly than fp32" in session.info.note) is noted
