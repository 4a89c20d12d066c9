"""A folder for the files of a server and its clients, which nobody else can read and which does not grow for ever."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from fxsr.errors import FxsrError, UsageError
from fxsr.runtime.session import Closable
from fxsr.scratch import LOCK, scratch_folder


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
        self._ends = ExitStack()
        try:
            self.path = self._ends.enter_context(scratch_folder())
        except FxsrError as error:
            raise UsageError(str(error)) from error

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        self._ends.close()

    def subfolder(self) -> Path:
        """A new folder in it."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def make_room(self) -> None:
        """Remove the files that were not used for the longest time, until the rest is within the limit."""
        files = []
        for path in self.path.rglob("*"):
            with suppress(OSError):
                if path.name != LOCK and path.is_file():
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
