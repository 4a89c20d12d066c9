"""Temporary folders that don't outlive their program, however it ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fxsr.errors import FxsrError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""Name of the file in each folder on which its program holds a lock."""
_PREFIX = "fxsr-files-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder with mode 0700 in the system's temporary folder, removed afterwards.

    Folders of this user's programs that were killed are removed first, except on Windows, where they can't be told
    apart.

    Raises:
        FxsrError: there is no place for temporary files.
    """
    _remove_abandoned()
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        place = f"{tempfile.gettempdir()} ({error.strerror})" if tempfile.tempdir else "the temporary folder"
        raise FxsrError(f"can't make a folder in {place}; set TMPDIR to a folder with room") from error
    lock = _new_lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock:
            lock.close()


def _new_lock(folder: Path) -> IO[bytes] | None:
    """The lock of a new folder; it gets its name when it is held, so that nobody takes the folder for abandoned."""
    with suppress(OSError):
        if lock := _locked(folder / f"{LOCK}.new", "wb"):
            (folder / f"{LOCK}.new").rename(folder / LOCK)
            return lock
    return None


def _locked(path: Path, mode: str) -> IO[bytes] | None:
    """A file that this process holds a lock on. None: another one does, or there are no locks here.

    Raises:
        OSError: it can't be opened.
    """
    file: IO[bytes] = path.open(mode)
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
    file.close()
    return None


def _remove_abandoned() -> None:
    with suppress(OSError):  # such as an unreadable temporary folder
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if sys.platform == "win32" or folder.is_symlink() or folder.stat().st_uid != os.getuid():
                    continue
                if lock := _locked(folder / LOCK, "r+b"):
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.close()
