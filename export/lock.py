"""One export at a time into a folder."""

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
def alone_in(out: Path, step: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """One export at a time into a folder, so that a manifest describes the files beside it and not another's.

    Raises:
        FxsrError: the machine's folder for temporary files can't be written to.
    """
    with needs("export"):
        from filelock import FileLock, Timeout

    digest = hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0  # another's lock file can't be opened
    lock = FileLock(Path(tempfile.gettempdir()) / f"fxsr-export-{user}-{digest}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            step("waiting for another export into this folder")
            lock.acquire()
    except OSError as error:
        raise FxsrError(f"{lock.lock_file}: cannot be locked ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()
