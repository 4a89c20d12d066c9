"""Files written whole or not at all, and the hash of a file's contents."""

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
    """Yield a temporary path in the folder of `path`, with the same suffix, and rename it to `path` at the end.

    Missing folders are made. If the block raises or is interrupted, the temporary file is removed and an older file
    at `path` stays as it was.

    Raises:
        FxsrError: `path` can't be written.
    """
    # The temporary name does not contain the name of `path`: it could become too long, and some libraries reject
    # unusual characters.
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
