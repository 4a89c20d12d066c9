"""Which GPUs are found, by what the driver's tool says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
