"""Which GPUs are found: by the driver's management library, by CUDA, or by the driver's tool."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fxsr.runtime.machine import gpu
from fxsr.runtime.machine.gpu import Gpu, find_gpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tool is played by a shell script")

H200 = Gpu("NVIDIA H200", "9.0", "580.65.06", 143771, "GPU-1a2b", "00000000:1B:00.0")
T4 = Gpu("NVIDIA T4", "7.5", "580.65.06", 0, "GPU-5e6f", "00000000:AF:00.0")
TWO = """echo 'NVIDIA H200, 9.0, 580.65.06, 143771, GPU-1a2b, 00000000:1B:00.0'
echo 'NVIDIA T4, 7.5, 580.65.06, [N/A], GPU-5e6f, 00000000:AF:00.0'"""


def play(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_every_gpu_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, TWO, monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert find_gpus() == (H200, T4)
    assert H200.has_address("0000:1b:00.0")
    assert not T4.has_address("0000:1b:00.0")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("1,0", (T4, H200)),
        ("1", (T4,)),
        ("GPU-5e", (T4,)),
        ("GPU-1a2b, 1", (H200, T4)),
        ("", ()),
        ("-1", ()),
        ("1,7,0", (T4,)),
        ("MIG-5e6f", (H200, T4)),
    ],
)
def test_hidden_gpus_are_not_there(
    wanted: str, found: tuple[Gpu, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, TWO, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    assert find_gpus() == found


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'; exit 6"])
def test_a_driver_that_does_not_answer_is_none(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, script, monkeypatch)
    assert find_gpus() == ()


def test_the_drivers_tool_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, f"echo run >> {tmp_path}/runs\n{TWO}", monkeypatch)
    found: list[Gpu] = []
    for visible in ("0", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        found += find_gpus()
    assert found == [H200, T4]
    assert (tmp_path / "runs").read_text() == "run\n"


def test_no_driver_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == ()


class NvmlError(Exception):
    """Stands for `pynvml.NVMLError`."""


def nvml(names: list[str]) -> ModuleType:
    """A stand-in for pynvml with GPUs of these names, of compute capability 9.0."""
    module = ModuleType("pynvml")

    def refuse() -> None:
        raise NvmlError("NVML_ERROR_LIBRARY_NOT_FOUND")

    functions: dict[str, Any] = {
        "NVMLError": NvmlError,
        "nvmlInit": (lambda: None) if names else refuse,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: b"580.65.06",
        "nvmlDeviceGetCount": lambda: len(names),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
        "nvmlDeviceGetName": lambda handle: names[handle],
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=143771 << 20),
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(busId=b"00000000:1B:00.0\0"),
    }
    vars(module).update(functions)
    return module


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with a driver and without nvidia-smi, of which nothing is known yet."""
    ways = (gpu._has_driver, gpu._list_by_nvml, gpu._list_by_cuda)
    for way in ways:
        way.cache_clear()
    monkeypatch.setattr("ctypes.CDLL", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    for way in ways:
        way.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_the_management_library_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(["NVIDIA H200", "NVIDIA H200"]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (found,) = find_gpus()
    assert found == Gpu("NVIDIA H200", "9.0", "580.65.06", 143771, "GPU-1", "00000000:1B:00.0")


@pytest.mark.usefixtures("fresh")
def test_cuda_is_asked_where_the_management_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"name": b"NVIDIA H100", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30}
    facts |= {"pciDomainID": 0, "pciBusID": 0x3B, "pciDeviceID": 0}
    runtime = ModuleType("cuda.bindings.runtime")
    functions: dict[str, Any] = {
        "cudaGetDeviceCount": lambda: (0, 1),
        "cudaGetDeviceProperties": lambda index: (0, SimpleNamespace(**facts)),
    }
    vars(runtime).update(functions)
    monkeypatch.setitem(sys.modules, "pynvml", nvml([]))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    (found,) = find_gpus()
    assert (found.name, found.compute_capability, found.memory_mb) == ("NVIDIA H100", "9.0", 80 << 10)
    assert found.has_address("0000:3b:00.0")


@pytest.mark.usefixtures("fresh")
def test_without_any_library_or_tool_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pynvml", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert find_gpus() == ()
