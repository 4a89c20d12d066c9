from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fxsr.errors import FxsrError
from fxsr.files import atomic_path, remove_unfinished
from tests.support import ended, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")

_WRITER = """
import sys, time
from pathlib import Path
from fxsr.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    time.sleep(600)
"""


def test_what_a_killed_program_left_is_removed_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "out.png")]
    with ended(subprocess.Popen(command, text=True, start_new_session=True)) as process:
        wait_until(lambda: any(path.read_bytes() == b"half" for path in tmp_path.iterdir()), process)
        remove_unfinished(tmp_path)
        (left,) = tmp_path.iterdir()
        process.kill()
        process.wait()
        (tmp_path / ".fxsr-notes").touch()  # not of our making
        remove_unfinished(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".fxsr-notes"]
        assert left.name.startswith(".fxsr-")


def test_a_folder_that_is_not_there_has_nothing_unfinished(tmp_path: Path) -> None:
    remove_unfinished(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(FxsrError, match=r"cannot write .*out\.png: No space left on device"),
        atomic_path(tmp_path / "out.png"),
    ):
        raise OSError(28, os.strerror(28))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_libraries_get_a_name_that_is_valid_in_any_folder(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/fold\xffer"))
    with atomic_path(folder / "out.png") as temporary:
        temporary.write_bytes(str(temporary).encode())
    assert [path.name for path in folder.iterdir()] == ["out.png"]
