"""The folders beside fxsr/ are its sub-packages: what that mapping costs is guarded here."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
MAPPED = ("export", "runtime", "training", "benchmarks")


def packages_on_disk() -> set[str]:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "fxsr").rglob("__init__.py")}
    for folder in MAPPED:
        inits = (ROOT / folder).rglob("__init__.py")
        found |= {"fxsr." + ".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    return found


def test_listed_packages_are_those_on_disk() -> None:
    assert set(SETUPTOOLS["packages"]) == packages_on_disk()


def test_every_mapped_folder_is_mapped() -> None:
    assert SETUPTOOLS["package-dir"] == {"fxsr": "fxsr"} | {f"fxsr.{folder}": folder for folder in MAPPED}


@pytest.mark.parametrize("folder", MAPPED)
def test_the_linter_bans_the_bare_name(folder: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), "-"]
    source = f"import {folder}.x\n\nprint({folder}.x)\n"
    done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert f"write fxsr.{folder}" in done.stdout


def test_runtime_needs_neither_export_nor_training() -> None:
    for path in (ROOT / "runtime").rglob("*.py"):
        source = path.read_text()
        assert "fxsr.export" not in source.replace("`fxsr.export`", ""), path
        assert "fxsr.training" not in source.replace("`fxsr.training`", ""), path
