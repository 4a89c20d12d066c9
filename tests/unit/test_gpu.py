"""Which GPUs are found, by what the driver's tool says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fxsr.runtime.gpu import Gpu, find_gpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tool is played by a shell script")


def play(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_every_gpu_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, "echo 'NVIDIA H200, 9.0, 580.65.06, 143771'; echo 'NVIDIA T4, 7.5, 580.65.06, [N/A]'", monkeypatch)
    assert find_gpus() == (
        Gpu("NVIDIA H200", "9.0", "580.65.06", 143771),
        Gpu("NVIDIA T4", "7.5", "580.65.06", 0),
    )


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'; exit 6"])
def test_a_driver_that_does_not_answer_is_none(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, script, monkeypatch)
    assert find_gpus() == ()


def test_no_driver_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == ()
