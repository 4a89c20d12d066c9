from __future__ import annotations

import ast
import re

import pytest

from fxsr import errors
from fxsr.errors import FxsrError, MissingExtraError
from fxsr.extras import LazyModule, needs
from tests.support import ROOT

SOURCES = ("fxsr", "export", "runtime", "training", "benchmarks")


def error_classes() -> dict[str, type[FxsrError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FxsrError) and value.__module__ == errors.__name__
    }


def drawn() -> dict[str, tuple[str, int]]:
    """Name of each drawn error, its parent, and its exit status."""
    found, parents = {}, [""]
    for marks, name, status in re.findall(r"^    ([│├└─ ]*)(\w+Error) +exit (\d)", errors.__doc__ or "", re.MULTILINE):
        depth = len(marks) // 4
        found[name] = parents[depth], int(status)
        parents[depth + 1 :] = [name]
    return found


def test_the_drawn_tree_is_the_tree() -> None:
    """In the source, so that modules that need an extra count too."""
    found = {"FxsrError": ""}
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    classes = [
        node for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    ]
    while more := {
        node.name: base
        for node in classes
        for base in [ast.unparse(node.bases[0]) if node.bases else ""]
        if base in found and node.name not in found
    }:
        found |= more
    assert {name: parent for name, (parent, _) in drawn().items()} == found


def test_drawn_exit_statuses_are_the_real_ones() -> None:
    own = error_classes()
    assert {name: status for name, (_, status) in drawn().items() if name in own} == {
        name: error.exit_status for name, error in own.items()
    }


def test_a_missing_package_names_the_pip_line() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[gpu\]"'), needs("gpu"):
        import a_package_that_does_not_exist  # type: ignore[import-not-found] # noqa: F401


def test_other_errors_inside_needs_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), needs("gpu"):
        _ = 1 / 0


def test_a_lazy_module_is_missed_only_when_used() -> None:
    absent = LazyModule("a_package_that_does_not_exist", extra="export")
    with pytest.raises(MissingExtraError, match=r'a_package_that_does_not_exist .* "\.\[export\]"'):
        absent.anything  # noqa: B018
    assert LazyModule("json", extra="export").loads("1") == 1
