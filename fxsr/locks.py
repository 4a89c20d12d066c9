"""Lets one program at a time write to a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import FxsrError
from fxsr.extras import needs
from fxsr.files import remove_unfinished

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextmanager
def folder_lock(folder: Path, name: str, extra: str, on_busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a folder inside the block; it ends with the process, however that ends.

    The lock is a file in the folder itself, so that machines that share the folder see it. It is removed afterwards.
    Files that programs which were killed left unfinished in the folder are removed first.

    Args:
        folder: it is created if it does not exist, and removed again if nothing was written to it.
        name: name of the lock's file.
        extra: the extra whose packages the caller needs.
        on_busy: called if another process holds the lock. If it returns, this process waits.

    Raises:
        FxsrError: the folder can't be written to.
    """
    with needs(extra):
        from filelock import Timeout

    path = folder / name
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = file_lock(path, extra)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_busy()
            lock.acquire()
    except OSError as error:
        raise FxsrError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        remove_unfinished(folder)
        yield
    finally:
        release(lock, path)
        with suppress(OSError):
            for each in made:
                each.rmdir()  # if nothing was written


@contextmanager
def held(path: Path, extra: str) -> Iterator[None]:
    """Hold a lock file inside the block, after waiting for it.

    Raises:
        OSError: the file can't be written.
    """
    lock = file_lock(path, extra)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock.acquire()
    try:
        yield
    finally:
        release(lock, path)


def release(lock: BaseFileLock, path: Path) -> None:
    """Remove a lock file that is held, then release it: who waits for it sees that it is gone, and makes a new one."""
    with suppress(OSError):  # Windows removes no file that is open
        path.unlink()
    lock.release()


def file_lock(path: Path, extra: str) -> BaseFileLock:
    """A lock that is a file; it is not acquired yet."""
    with needs(extra):
        from filelock import FileLock
    return FileLock(path)
