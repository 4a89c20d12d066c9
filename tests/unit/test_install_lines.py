"""Every install command that users are shown works as typed in a clone: the package is on no index."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
FOLDERS = ("fxsr", "export", "runtime", "training", "benchmarks", "docs", "scripts", ".ci")
SUFFIXES = (".md", ".py", "")
NAME_AN_EXTRA = {"needs": 0, "LazyModule": 1, "MissingExtraError": 1, "install_line": 0}
"""Functions whose argument of that number (or named `extra`) is the name of an extra."""


def shown_files() -> list[Path]:
    """Everything whose text users read: documents, messages in the source, scripts."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    text = [path for path in inside if path.suffix in SUFFIXES]
    return sorted([*text, *ROOT.glob("*.md"), ROOT / "cli.py"])


def install_commands() -> Iterator[tuple[str, str]]:
    """Where each command stands, and the command."""
    for path in shown_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for command in re.findall(r"pip install [^`|]*", line):
                yield f"{path.relative_to(ROOT)}:{number}", command


def named_extras() -> Iterator[tuple[str, str]]:
    """Where the source names an extra for an error message, and its name."""
    for path in shown_files():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAME_AN_EXTRA:
                named = [keyword.value for keyword in node.keywords if keyword.arg == "extra"]
                value = (named or node.args[NAME_AN_EXTRA[node.func.id] :])[0]
                if isinstance(value, ast.Constant):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", str(value.value)


def test_the_collectors_find_what_is_shown() -> None:
    commands, extras = list(install_commands()), list(named_extras())
    assert {place.partition(":")[0] for place, _ in commands} >= {"README.md", "docs/engines.md", ".ci/run"}
    assert {extra for _, extra in extras} >= {"cpu", "gpu", "export", "train", "serve", "ui", "ray", "exr"}


def test_no_command_asks_an_index_for_this_package() -> None:
    assert [place for place, command in install_commands() if re.search(r"\bfxsr\b", command.partition("#")[0])] == []
    texts = {path: path.read_text(encoding="utf-8") for path in shown_files() if path.name != "CHANGELOG.md"}
    assert [str(path) for path, text in texts.items() if re.search(r"\bfxsr\[[a-z{]", text)] == []


def test_every_extra_in_a_command_exists() -> None:
    unknown = []
    for place, command in install_commands():
        for extras in re.findall(r"\.\[([^\]]*)\]", command):
            unknown += [(place, extra) for extra in extras.split(",") if extra not in EXTRAS and "{" not in extra]
    assert unknown == []


def test_every_extra_that_the_source_names_exists() -> None:
    assert [(place, extra) for place, extra in named_extras() if extra not in EXTRAS] == []


def test_doctor_and_export_name_extras_that_exist() -> None:
    from fxsr.runtime.backends.tensorrt.engine_file import EXTRAS as ENGINE_EXTRAS
    from fxsr.runtime.describe import _PACKAGES

    assert {*_PACKAGES.values(), *ENGINE_EXTRAS.values()} <= EXTRAS


def test_doctor_and_export_find_the_packages_of_one_version_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    from fxsr.export.engine.engine import builder_version
    from fxsr.runtime.describe import examine_machine
    from fxsr.runtime.machine.name import machine

    def version(package: str) -> str:
        if package != "tensorrt-cu13":
            raise importlib.metadata.PackageNotFoundError
        return "10.9"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert builder_version("tensorrt") == examine_machine()["tensorrt"] == "10.9"
    assert machine("tensorrt").endswith(", tensorrt 10.9")
