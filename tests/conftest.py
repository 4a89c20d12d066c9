"""Tests run on the checkout, installed or not: `import cli` puts the sub-packages in reach."""

from __future__ import annotations

from pathlib import Path

import pytest

import cli  # noqa: F401

_FOLDERS = ("unit", "integration", "packaging", "gpu")
_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with the folder it lies in."""
    for item in items:
        for folder in _FOLDERS:
            if folder in Path(item.path).parts:
                item.add_marker(folder)


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines put in here are printed at the end of the run."""
    return pytestconfig.stash[_FIGURES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[_FIGURES]:
            terminalreporter.write_line(line)
