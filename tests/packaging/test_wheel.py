"""The wheel in a bare environment: nothing but its own requirements."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fxsr.errors import install_line
from tests.support import ROOT, SAMPLE

TORCH_MODULES = (
    "average",
    "crop_teacher",
    "crops",
    "data",
    "discriminator",
    "event_log",
    "features",
    "initial",
    "loop",
    "losses",
    "memory",
    "monitor",
    "objective",
    "opening",
    "planning",
    "perceptual",
    "resident",
    "resume",
    "speed",
    "transfer",
    "user_terms",
    "rrdb",
    "schedule",
    "state",
    "style_hold",
    "targets",
    "teachers",
    "trainer",
)
SERVE_MODULES = ("app", "connections", "failures", "job_routes", "model_routes", "openapi", "sending")
NEEDS_EXTRA = (
    {"fxsr.models.network": "export"}
    | {f"fxsr.training.{name}": "train" for name in TORCH_MODULES}
    | {"fxsr.benchmarks.gpu.training": "train"}
    | {f"fxsr.runtime.serve.{name}": "serve" for name in SERVE_MODULES}
    | {"fxsr.runtime.ui.page": "serve", "fxsr.runtime.ui.static": "ui"}
)
"""Modules that can't be imported without an extra, since their classes derive from its classes."""

Run = Callable[..., subprocess.CompletedProcess[str]]

IMPORT_ALL = """
import importlib, json, pkgutil, fxsr
from fxsr.errors import MissingExtraError
result = {}
for module in [fxsr, *pkgutil.walk_packages(fxsr.__path__, "fxsr.")]:
    name = getattr(module, "name", "fxsr")
    if name.endswith("__main__"):
        continue
    try:
        importlib.import_module(name)
        result[name] = None
    except MissingExtraError as error:
        result[name] = error.extra
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_files_of_the_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        held = {name.rpartition("/")[2] for name in packed.namelist() if name.startswith("fxsr/runtime/ui/static/")}
    assert held == {file.name for file in (ROOT / "runtime/ui/static").iterdir()}
    assert {"index.html", "main.js", "base.css"} <= held


@pytest.fixture(scope="module")
def bare(wheel: Path, outside: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command: list[str | Path] = [folder / "bin" / "pip", "install", "--quiet", wheel]
    subprocess.run(command, env=outside, check=True, capture_output=True)
    return folder / "bin"


@pytest.fixture
def run(bare: Path, outside: dict[str, str], tmp_path: Path) -> Run:
    """Run a command of the bare environment in an empty folder."""

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [bare / command[0], *command[1:]], env=outside, capture_output=True, text=True, cwd=tmp_path
        )

    return run


def test_the_wheel_holds_models_photos_types_and_nothing_next_to_fxsr(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fxsr"}
    for wanted in (
        "weights/fxsr-pd-x4-small.onnx",
        "weights/fxsr-photo-x4-small.onnx",
        "weights/fxsr-photo-x4.safetensors",
        "export/photos/cat.png",
        "training/recipes/srot-x4.toml",
        "py.typed",
    ):
        assert f"fxsr/{wanted}" in names
    for text in ("LICENSE", "NOTICE"):
        assert any(name.endswith(f"licenses/{text}") for name in names)


def test_every_module_imports_in_a_bare_environment(run: Run) -> None:
    done = run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout)
    assert {name: extra for name, extra in imported.items() if extra} == NEEDS_EXTRA
    assert {"fxsr.export.graph.graph", "fxsr.runtime.backends.onnxruntime", "fxsr.benchmarks.engines"} <= set(imported)


@pytest.mark.parametrize("command", [[], ["run"], ["export"], ["train"], ["eval"], ["info"], ["models"], ["doctor"]])
def test_every_help_works_in_a_bare_environment(command: list[str], run: Run) -> None:
    done = run("fxsr", *command, "--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["run", SAMPLE], "cpu"),
        (["export"], "export"),
        (["run", SAMPLE, "-e", "a.pth"], "export"),
        (["train", "srot-x4", "--set", "data.hr=."], "train"),
    ],
)
def test_a_missing_extra_names_the_install_line(command: list[str], extra: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"x")
    done = run("fxsr", *command, "-o" if command[0] == "run" else "--out", tmp_path / "out")
    assert done.returncode == 3
    assert install_line(extra) in done.stderr
    assert len(done.stderr.splitlines()) == 1
