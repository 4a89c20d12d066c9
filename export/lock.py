"""Lets one export at a time write to a folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fxsr.errors import FxsrError
from fxsr.extras import needs


@contextmanager
def alone_in(out: Path, on_step: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the lock of a folder inside the block, so that a manifest always describes the files next to it.

    Args:
        out: the folder.
        on_step: called if another export holds the lock.

    Raises:
        FxsrError: the machine's folder for temporary files can't be written to.
    """
    with needs("export"):
        from filelock import FileLock, Timeout

    digest = hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0  # another user's lock file can't be opened
    lock = FileLock(Path(tempfile.gettempdir()) / f"fxsr-export-{user}-{digest}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_step("waiting for another export to this folder")
            lock.acquire()
    except OSError as error:
        raise FxsrError(f"{lock.lock_file}: cannot be locked ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()
