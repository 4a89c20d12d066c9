"""For tests on a GPU: one module at a time, since some fill its memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.requirements import import_or_skip, missing, required_parts


def pytest_configure() -> None:
    """Refuse names in FXSR_REQUIRE that mean nothing, before any test."""
    required_parts()


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """Other processes of this run wait."""
    with FileLock(Path(tempfile.gettempdir()) / "fxsr-tests-gpu.lock"):
        yield


@pytest.fixture
def gpu_torch() -> Any:
    """The module torch, where it finds a GPU."""
    torch = import_or_skip("torch", "cuda")
    if not torch.cuda.is_available():
        missing("cuda", "torch finds no GPU")
    return torch
