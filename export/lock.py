"""Lets one export at a time write to a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fxsr.locks import folder_lock

_EXTRA = "export"
_LOCK = ".fxsr-export.lock"


@contextmanager
def alone_in(out: Path, on_step: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the lock of a folder inside the block, so that a manifest always describes the files next to it.

    Args:
        out: the folder. It is created if it does not exist, and removed again if nothing was written to it.
        on_step: called if another export holds the lock; this one then waits.

    Raises:
        FxsrError: the folder can't be written to.
    """
    with folder_lock(out, _LOCK, _EXTRA, lambda: on_step("waiting for another export to this folder")):
        yield
