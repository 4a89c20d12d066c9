"""Settings for all tests. They run on the checkout: `import cli` makes the sub-packages importable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import cli  # noqa: F401

_TESTS = Path(__file__).resolve().parent
_FOLDERS = ("unit", "integration", "packaging", "gpu")
_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that spin while they wait are slow on busy CPUs


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        session.config.workeroutput["figures"] = session.config.stash[_FIGURES]  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_FIGURES] += getattr(node, "workeroutput", {}).get("figures", [])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with the folder of `tests/` that it lies in."""
    for item in items:
        folder = Path(item.path).relative_to(_TESTS).parts[0]
        if folder in _FOLDERS:
            item.add_marker(folder)
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.timeout(1800))  # TensorRT times every kernel that it might use


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> list[str]:
    """A list whose lines are printed at the end of the run."""
    return pytestconfig.stash[_FIGURES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[_FIGURES]:
            terminalreporter.write_line(line)
