"""The folders next to fxsr/ are its sub-packages. These tests guard that mapping, for the build and for editors."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT

TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
SETUPTOOLS = TOOLS["setuptools"]
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


def test_editors_find_every_module_that_is_mapped() -> None:
    typings = ROOT / TOOLS["pyright"]["stubPath"]
    stubs = {str(path.relative_to(typings)): path.read_text() for path in typings.rglob("*") if path.is_file()}
    expected = {}
    for folder in MAPPED:
        for source in (ROOT / folder).rglob("*.py"):
            module = source.relative_to(ROOT).with_suffix("")
            if module.name != "__main__":
                name = ".".join(module.parts).removesuffix(".__init__")
                expected[f"fxsr/{module}.pyi"] = f"from {name} import *\n"
    assert stubs == expected, "type: scripts/typings"


def test_settings_for_editors_name_what_exists() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())
    named = [*settings["python.testing.pytestArgs"], *settings["search.exclude"]]
    made = {"build"}  # by scripts/check
    assert [name for name in named if not (ROOT / name).exists() and name not in made and name[0] not in "-0"] == []
    assert (ROOT / TOOLS["pyright"]["stubPath"]).is_dir()
