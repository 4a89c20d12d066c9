"""A folder for the files of a server and its clients, which nobody else can read and which does not grow for ever."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from fxsr.errors import UsageError
from fxsr.runtime.session import Closable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "fxsr-files-"
_LOCK = ".lock"


class OwnFolder(Closable):
    """A folder with mode 0700 in the system's temporary folder, removed at the end. Folders that killed processes have
    left behind are removed at the beginning.

    Args:
        most: largest size of all files in bytes; see `make_room`.

    Raises:
        UsageError: there is no place for temporary files.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        _remove_abandoned()
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        except OSError as error:
            place = f"{tempfile.gettempdir()} ({error.strerror})" if tempfile.tempdir else "the temporary folder"
            raise UsageError(f"can't make a folder in {place}; set TMPDIR to a folder with room") from error
        self._lock = _locked(self.path / _LOCK)

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        if self._lock:
            self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def subfolder(self) -> Path:
        """A new folder in it."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def make_room(self) -> None:
        """Remove the files that were not used for the longest time, until the rest is within the limit."""
        files = []
        for path in self.path.rglob("*"):
            with suppress(OSError):
                if path.name != _LOCK and path.is_file():
                    files.append((path.stat(), path))
        size = sum(about.st_size for about, _ in files)
        for about, path in sorted(files, key=lambda file: file[0].st_mtime):
            if size <= self._most:
                break
            with suppress(OSError):
                path.unlink()
                path.parent.rmdir()  # fails if it is not empty
            size -= about.st_size

    @staticmethod
    def touch(file: Path) -> None:
        """Mark a file as used now."""
        with suppress(OSError):
            os.utime(file)


def _locked(path: Path) -> IO[str] | None:
    """A file that this process holds a lock on. None: there are no locks here."""
    if fcntl is None:
        return None
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or this file system has no locks
        file.close()
        return None
    return file


def _remove_abandoned() -> None:
    """Remove the folders of this user's processes that ended without doing so."""
    with suppress(OSError):  # such as an unreadable temporary folder
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if folder.is_symlink() or not (folder / _LOCK).is_file() or folder.stat().st_uid != os.getuid():
                    continue
                lock = _locked(folder / _LOCK)
                if lock:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.close()
