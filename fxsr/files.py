"""Writing files whole or not at all, and telling them apart by their contents."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fxsr.errors import FxsrError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path`, with the same suffix, that takes its place when the block ends well.

    Folders are made as needed. When the block fails or is interrupted, what was written is removed and an
    older file at `path` stays as it was.

    Raises:
        FxsrError: the place can't be written to.
    """
    # not after `path`: with more behind it, its name may be too long, and not all libraries take every name
    temporary = path.with_name(f".fxsr-{secrets.token_hex(6)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise FxsrError(f"cannot write {path}: it is a folder")
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise FxsrError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
