"""What tests of sessions on a device share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig import Rig, make_rig


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled kernels are kept, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fxsr" / "kernels"


@pytest.fixture
def rig(tmp_path: Path, cache_folder: Path) -> Rig:
    return make_rig(tmp_path)
