"""TensorRT on a machine whose driver is missing, or is there and does not work.

Its builder and its runtime then end the whole process (seen with 10.6, 10.15 and 11.2), which nothing can catch. So no
command may get as far as making one. The stand-in module here ends the process as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fxsr.export import ExportRequest, export_model
from fxsr.export.graph.graph import GraphOptions
from fxsr.files import sha256
from fxsr.models.checkpoint import save_checkpoint
from fxsr.models.manifest import (
    BuildOptions,
    EngineFacts,
    FileFacts,
    Profile,
    ShapeRange,
    read_manifest,
    write_manifest,
)
from tests.support import ROOT, SAMPLE, TINY, golden_checkpoint

ENDED = 86
"""Exit status of a process that made a builder or a runtime."""
MODULE = f"""
import os
__version__ = "10.6.0.post1"
class ILogger:
    INFO, ERROR = 3, 1
class IProfiler: ...
class IProgressMonitor: ...
class Logger(ILogger):
    def __init__(self, *arguments): ...
def end(*arguments):
    os._exit({ENDED})
Builder = Runtime = OnnxParser = Refitter = init_libnvinfer_plugins = end
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {{}})
"""
GPU = "NVIDIA H100, 9.0, 580.65.06, 81559, GPU-1a2b, 00000000:1B:00.0"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine file with everything that belongs to it, as if TensorRT 10.6 had built it for an H100."""
    folder = tmp_path_factory.mktemp("engine")
    save_checkpoint(folder / "tiny.safetensors", golden_checkpoint(TINY, 4))
    request = ExportRequest(folder / "tiny.safetensors", folder, GraphOptions("fp16").for_engine(), check=False)
    result = export_model(request)
    plan = result.onnx.with_suffix(".plan")
    plan.write_bytes(b"not a real engine")
    facts = FileFacts(plan.name, sha256(plan), plan.stat().st_size)
    manifest = read_manifest(result.onnx.with_suffix(".json"))
    lr = _fixed(1, 3, 32, 32)
    profiles = (
        Profile("map", {"lr": lr, "t_map": _fixed(1, 1, 32, 32)}),
        Profile("uniform", {"lr": lr, "t_map": _fixed(1, 1, 1, 1)}),
    )
    tensors = {tensor.name: tensor.dtype for tensor in (*manifest.model.inputs, *manifest.model.outputs)}
    described = EngineFacts(
        facts, "tensorrt", "10.6.0.post1", profiles, tensors, BuildOptions(), sha256(result.onnx), gpu="NVIDIA H100"
    )
    write_manifest(result.onnx.with_suffix(".json"), replace(manifest, engines=(described,)))
    return plan


@pytest.fixture(params=["no driver", "a driver that does not work"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The stand-in module is installed; nvidia-smi lists a GPU in the second case, but CUDA fails."""
    site = tmp_path / "site"
    (site / "tensorrt").mkdir(parents=True)
    (site / "tensorrt" / "__init__.py").write_text(MODULE)
    info = site / "tensorrt-10.6.0.post1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt\nVersion: 10.6.0.post1\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    if request.param != "no driver":
        (tools / "nvidia-smi").write_text(f"#!/bin/sh\necho '{GPU}'\n")
        (tools / "nvidia-smi").chmod(0o755)
    paths = f"{site}{os.pathsep}{ROOT}"
    return os.environ | {"PYTHONPATH": paths, "PATH": f"{tools}:/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "300"}


def fxsr(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_the_stand_in_ends_the_process(environment: dict[str, str]) -> None:
    code = "import tensorrt; tensorrt.Builder(tensorrt.Logger())"
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == ENDED


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", SAMPLE, "--engine", "ENGINE", "-o", "out.png"),
        ("run", SAMPLE, "--engine", "ENGINE", "-o", "out.png", "--trust"),
        ("bench", "ENGINE"),
        ("bench", "ENGINE", "--profile"),
        ("verify", "ENGINE"),
        ("verify", "ENGINE", "--layers"),
        ("serve", "--engine", "ENGINE", "--port", "0"),
        ("export", "--engine", "tensorrt", "--checkpoint", "TINY", "--no-verify", "--out", "engines"),
        (
            "export",
            "--engine",
            "tensorrt",
            "--checkpoint",
            "TINY",
            "--no-verify",
            "--out",
            "engines",
            "--strip-weights",
        ),
    ],
    ids=lambda arguments: " ".join(map(str, (*arguments[:1], *arguments[4:]))),
)
def test_commands_refuse_in_one_line(
    arguments: tuple[str | Path, ...], environment: dict[str, str], engine: Path, tmp_path: Path
) -> None:
    places = {
        "ENGINE": engine,
        "TINY": engine.with_name("tiny.safetensors"),
        "out.png": tmp_path / "out.png",
        "engines": tmp_path / "engines",
    }
    done = fxsr(environment, *(places.get(str(each), each) for each in arguments))
    assert done.returncode in (1, 3), done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("http://")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fxsr: ")


@pytest.mark.parametrize("arguments", [("doctor", "--json"), ("info", "ENGINE", "--json")])
def test_commands_that_only_describe_work(
    arguments: tuple[str, ...], environment: dict[str, str], engine: Path
) -> None:
    done = fxsr(environment, *(engine if each == "ENGINE" else each for each in arguments))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_a_manifest_says_which_engines_were_not_run(environment: dict[str, str], engine: Path) -> None:
    done = fxsr(environment, "info", engine.with_suffix(".json"), "--json")
    facts = json.loads(done.stdout)
    assert "verification" not in facts
    assert facts["verification of its graph"] == "not done"
    assert facts[engine.name].endswith("; verification not run")


def test_an_export_ends_in_order_whatever_it_chooses(environment: dict[str, str], engine: Path, tmp_path: Path) -> None:
    checkpoint = engine.with_name("tiny.safetensors")
    done = fxsr(environment, "export", "--checkpoint", checkpoint, "--no-verify", "--out", tmp_path / "engines")
    assert done.returncode in (0, 1, 3), done.stderr
    assert done.returncode != ENDED


def _fixed(*shape: int) -> ShapeRange:
    return ShapeRange(shape, shape, shape)
