"""The wheel in a bare environment: nothing but its own requirements."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT, SAMPLE

TORCH_MODULES = (
    "data",
    "discriminator",
    "initial",
    "loop",
    "losses",
    "monitor",
    "objective",
    "perceptual",
    "state",
    "trainer",
    "vgg",
)
NEEDS_EXTRA = (
    {"fxsr.models.network": "export"}
    | {f"fxsr.training.{name}": "train" for name in TORCH_MODULES}
    | {"fxsr.runtime.serve.app": "serve", "fxsr.runtime.ui.page": "ui"}
)
"""Modules that can't be imported without an extra, since their classes derive from its classes."""

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


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    return folder / "bin"


def run(bare: Path, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([bare / command[0], *command[1:]], capture_output=True, text=True, cwd=cwd)


def test_the_wheel_holds_models_photos_types_and_nothing_beside_fxsr(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fxsr"}
    for wanted in (
        "weights/fxsr-pd-x4-small.onnx",
        "export/photos/cat.png",
        "training/recipes/srot-x4.toml",
        "py.typed",
    ):
        assert f"fxsr/{wanted}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_every_module_imports_in_a_bare_environment(bare: Path, tmp_path: Path) -> None:
    done = run(bare, "python", "-c", IMPORT_ALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout)
    assert {name: extra for name, extra in imported.items() if extra} == NEEDS_EXTRA
    assert {"fxsr.export.graph.graph", "fxsr.runtime.backends.onnxruntime", "fxsr.benchmarks.engines"} <= set(imported)


@pytest.mark.parametrize("command", [[], ["run"], ["export"], ["train"], ["eval"], ["info"], ["models"], ["doctor"]])
def test_every_help_works_in_a_bare_environment(command: list[str], bare: Path, tmp_path: Path) -> None:
    done = run(bare, "fxsr", *command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["run", SAMPLE], 'pip install "fxsr[cpu]"'),
        (["export"], 'pip install "fxsr[export]"'),
        (["run", SAMPLE, "-e", "a.pth"], 'pip install "fxsr[export]"'),
        (["train", "srot-x4", "--set", "data.hr=."], 'pip install "fxsr[train]"'),
    ],
)
def test_a_missing_extra_names_the_pip_line(command: list[str], line: str, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"x")
    done = run(bare, "fxsr", *command, "-o" if command[0] == "run" else "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 3
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
