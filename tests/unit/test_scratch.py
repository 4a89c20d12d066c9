from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fxsr.errors import FxsrError
from fxsr.scratch import scratch_folder

KILLED = """
import os, signal
from fxsr.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "graph.onnx").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_what_a_killed_program_left_goes_and_what_a_living_one_uses_stays(temporary: Path) -> None:
    with scratch_folder() as first:
        (first / "graph.onnx").touch()
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        subprocess.run([sys.executable, "-c", KILLED], check=False)
        assert len(list(temporary.iterdir())) == 2
        with scratch_folder() as second:
            assert {path.name for path in temporary.iterdir()} == {first.name, second.name}
            assert (first / "graph.onnx").exists()
    assert list(temporary.iterdir()) == []


def test_a_folder_of_another_program_stays(temporary: Path) -> None:
    (temporary / "fxsr-files-notes").mkdir()
    with scratch_folder():
        pass
    assert [path.name for path in temporary.iterdir()] == ["fxsr-files-notes"]


def test_no_place_is_an_error_of_one_line(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(FxsrError, match="set TMPDIR to a folder with room"), scratch_folder():
        pass
