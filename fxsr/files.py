"""Files written whole or not at all, what killed programs leave of them, and the hash of a file's contents."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fxsr.errors import FxsrError

if sys.platform != "win32":
    import fcntl

_LITTLE = 2**20
"""Free bytes of a disk that counts as full."""
_UNFINISHED = re.compile(r"\.fxsr-[0-9a-f]{12}\.part(\.\w+)?")


@contextmanager
def atomic_path(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with the same suffix, and rename it to `path` at the end.

    Missing folders are made. If the block raises or is interrupted, the temporary file is removed and an older file
    at `path` stays as it was. If the program is killed, `remove_unfinished` removes the temporary file later.

    Args:
        path: the file to write.
        durable: wait until the file is on the disk, so that it is also whole after a power cut.

    Raises:
        FxsrError: `path` can't be written.
    """
    # The temporary name does not contain the name of `path`: it could become too long, and some libraries reject
    # unusual characters.
    name = f".fxsr-{secrets.token_hex(6)}.part{path.suffix}"
    with ExitStack() as ends:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise FxsrError(f"cannot write {path}: it is a folder")
            temporary = ends.enter_context(_plain_folder(path.parent)) / name
            ends.enter_context(_owned(temporary))
            yield temporary
            if durable:
                _sync(temporary)
            os.replace(temporary, path)
            if durable and sys.platform != "win32":
                _sync(temporary.parent)
        except OSError as error:
            raise FxsrError(f"cannot write {path}: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk."""
    number = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _plain_folder(folder: Path) -> Iterator[Path]:
    """The folder by a name that every library can open: some take only names that are valid UTF-8."""
    proc = Path("/proc/self/fd")
    if all(not "\ud800" <= character <= "\udfff" for character in str(folder)) or not proc.is_dir():
        yield folder
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        yield proc / str(number)
    finally:
        os.close(number)


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Make an empty file and lock it, so that other programs see that its owner lives; remove it at the end."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if sys.platform == "win32":  # an open file could not be renamed
        os.close(lock)
    else:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(lock)


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files of `atomic_path` in a folder whose owner was killed: nobody holds their lock.

    What can't be removed stays. Nothing is done on Windows, where such files can't be told apart.
    """
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if _UNFINISHED.fullmatch(path.name):
                with suppress(OSError):
                    _remove_ownerless(path)


def _remove_ownerless(path: Path) -> None:
    """Remove a file if it can be locked.

    Raises:
        OSError: its owner holds the lock, or it can't be opened or removed.
    """
    if sys.platform != "win32":
        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(number)


def disk_is_full(folder: Path) -> bool:
    """Whether hardly anything can be written to a folder's disk, for libraries that lose the system's error."""
    return shutil.disk_usage(folder).free < _LITTLE


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
