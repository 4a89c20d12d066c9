"""Lets one export at a time write to a folder, and removes what killed exports left behind."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import FxsrError
from fxsr.extras import needs

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK = ".fxsr-export.lock"
_SCRATCH = "fxsr-export-"
_WRITTEN = (".onnx", ".plan")
"""Endings of files that only exports write."""


@contextmanager
def alone_in(out: Path, on_step: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the lock of a folder inside the block, so that a manifest always describes the files next to it.

    The lock is a file in the folder itself, so that machines that share the folder see it. It is removed afterwards.
    Half-written files of exports that were killed are removed first.

    Args:
        out: the folder. It is created if it does not exist, and removed again if nothing was written to it.
        on_step: called if another export holds the lock.

    Raises:
        FxsrError: the folder can't be written to.
    """
    with needs("export"):
        from filelock import Timeout

    path = out / _LOCK
    lock = _file_lock(path)
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_step("waiting for another export to this folder")
            lock.acquire()
    except OSError as error:
        raise FxsrError(f"cannot write {out}: {error.strerror or error}") from error
    try:
        for half in out.glob(".fxsr-*.part.*"):
            if half.suffix in _WRITTEN:  # only exports write these, and this one is alone
                with suppress(OSError):
                    half.unlink()
        yield
    finally:
        _remove(lock, path)
        if made:
            with suppress(OSError):
                out.rmdir()  # if nothing was written


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, which is removed afterwards. Those that killed exports left behind are removed first.

    A lock file next to each folder is held as long as its owner lives, in whatever container.

    Raises:
        FxsrError: the machine's folder for temporary files can't be written to.
    """
    root = Path(tempfile.gettempdir())
    _remove_abandoned(root)
    folder = root / f"{_SCRATCH}{secrets.token_hex(6)}"
    path = folder.with_suffix(".lock")
    lock = _file_lock(path)
    try:
        lock.acquire(timeout=0)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise FxsrError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove(lock, path)


def _remove_abandoned(root: Path) -> None:
    """Remove scratch folders, and their lock files, whose locks nobody holds."""
    from filelock import Timeout

    for path in root.glob(f"{_SCRATCH}*.lock"):
        lock = _file_lock(path)
        with suppress(Timeout, OSError):  # its owner lives, or it is another user's
            lock.acquire(timeout=0)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            _remove(lock, path)


def _remove(lock: BaseFileLock, path: Path) -> None:
    """Remove a lock file that is held, then release it: who waits for it sees that it is gone, and makes a new one."""
    with suppress(OSError):  # Windows removes no file that is open
        path.unlink()
    lock.release()


def _file_lock(path: Path) -> BaseFileLock:
    with needs("export"):
        from filelock import FileLock
    return FileLock(path)
