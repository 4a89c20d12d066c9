"""Where files are: on this machine, or behind URLs such as s3://bucket/photos, through fsspec.

A URL is a `Path` like any other here, with one of its slashes gone: that is what `Path("s3://bucket/a")` makes of it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fxsr.errors import FxsrError, UsageError, first_line
from fxsr.extras import needs

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/(?!/)(.*)", re.DOTALL)
"""Schemes have two letters and more: C:/ is a drive."""


def as_url(path: Path) -> str | None:
    """The URL that a path stands for; None: it is a path."""
    found = _URL.fullmatch(path.as_posix())
    if not found:
        return None
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def name_of(path: Path) -> str:
    """As a user would write it."""
    return as_url(path) or str(path)


class LocalPlaces:
    """Files of this machine. What must not be looked into is not there, except that a folder can't be searched.

    Raises:
        FxsrError: from `files`; a folder can't be read.
    """

    def is_dir(self, path: Path) -> bool:
        return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir and its like raise where one may not look

    def is_file(self, path: Path) -> bool:
        return os.path.isfile(path)  # noqa: PTH113

    def exists(self, path: Path) -> bool:
        return os.path.exists(path)  # noqa: PTH110

    def absolute(self, path: Path) -> Path:
        """One path for what may be written in several ways."""
        return Path(os.path.realpath(path))

    def files(self, folder: Path) -> Iterator[Path]:
        """All files in a folder and below."""

        def refuse(error: OSError) -> None:
            raise FxsrError(f"{error.filename}: cannot be searched ({error.strerror})") from error

        for place, _, names in os.walk(folder, onerror=refuse):
            yield from (path for name in names if self.is_file(path := Path(place, name)))


class AnyPlaces(LocalPlaces):
    """Files of this machine and behind URLs.

    Raises:
        UsageError: from any method; no such scheme, or the place can't be reached.
        MissingExtraError: from any method; fsspec, or what it needs for a scheme, is not installed.
    """

    def is_dir(self, path: Path) -> bool:
        return self._ask(path, "isdir") if as_url(path) else super().is_dir(path)

    def is_file(self, path: Path) -> bool:
        return self._ask(path, "isfile") if as_url(path) else super().is_file(path)

    def exists(self, path: Path) -> bool:
        return self._ask(path, "exists") if as_url(path) else super().exists(path)

    def absolute(self, path: Path) -> Path:
        return path if as_url(path) else super().absolute(path)

    def files(self, folder: Path) -> Iterator[Path]:
        url = as_url(folder)
        if url is None:
            yield from super().files(folder)
            return
        system, root = _open(url)
        try:
            names = system.find(root)
        except Exception as error:
            raise UsageError(f"{name_of(folder)}: cannot be searched ({_reason(error)})") from error
        for found in names:
            yield folder / found[len(root) :].lstrip("/")

    def fetch(self, path: Path, copy: Path) -> None:
        """Copy a file from where it is to this machine.

        Raises:
            FxsrError: it can't be read.
        """
        url = as_url(path)
        try:
            if url is None:
                shutil.copyfile(path, copy)
            else:
                system, place = _open(url)
                system.get_file(place, str(copy))
        except FxsrError:
            raise
        except Exception as error:  # of whatever stands behind a file system of fsspec
            raise FxsrError(f"{name_of(path)}: cannot be read ({_reason(error)})") from error

    def send(self, copy: Path, path: Path) -> None:
        """Put a file of this machine where it belongs, whole or not at all.

        Raises:
            FxsrError: it can't be written.
        """
        system, place = _open(as_url(path) or str(path))
        folder, _, name = place.rpartition("/")
        part = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        try:
            system.makedirs(folder, exist_ok=True)
            system.put_file(str(copy), part)
            system.mv(part, place)
        except Exception as error:
            with suppress(Exception):
                system.rm_file(part)
            raise FxsrError(f"cannot write {name_of(path)}: {_reason(error)}") from error

    def _ask(self, path: Path, question: str) -> bool:
        system, place = _open(as_url(path) or str(path))
        try:
            return bool(getattr(system, question)(place))
        except Exception as error:
            raise UsageError(f"{name_of(path)}: cannot be reached ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)


def _open(url: str) -> tuple[Any, str]:
    """A file system, and what it calls the place."""
    with needs("ray"):
        import fsspec
    try:
        system, place = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(f"{url}: {first_line(error)}") from error
    except ValueError as error:
        raise UsageError(f"{url}: not a URL that can be opened ({first_line(error)})") from error
    return system, str(place)
