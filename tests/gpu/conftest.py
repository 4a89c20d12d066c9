"""For tests on a GPU: one module at a time, since some fill its memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """Other processes of this run wait."""
    with FileLock(Path(tempfile.gettempdir()) / "fxsr-tests-gpu.lock"):
        yield
