"""Files on this machine and behind URLs such as s3://bucket/photos/a.png.

A place on this machine is a `pathlib.Path`. A URL is a `upath.UPath` of the package universal_pathlib, which has the
same methods for names and reaches files through fsspec; both packages are imported for URLs only.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from fxsr.errors import FxsrError, UsageError, first_line
from fxsr.extras import needs
from fxsr.files import atomic_path
from fxsr.scratch import scratch_folder

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = "Path | UPath"

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
"""Schemes have two letters or more: C:// would be a drive."""


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return bool(_URL.match(text))


def parse_path(text: str) -> Path:
    """The path that a text names, where only places on this machine are allowed.

    Raises:
        UsageError: it is a URL.
    """
    if is_url(text):
        raise _url_error(text)
    return Path(text)


def parse_place(text: str) -> Place:
    """The place that a path or URL names.

    Raises:
        UsageError: no package knows the URL's scheme.
        MissingExtraError: it is a URL, and universal_pathlib or fsspec is not installed.
    """
    scheme = _URL.match(text)
    if not scheme:
        return Path(text)
    with needs("ray"):
        from upath import UPath
    try:
        return UPath(text.rstrip("/") if text[scheme.end() :].strip("/") else text)
    except ValueError as error:
        raise UsageError(f"{text}: not a URL that can be opened ({first_line(error)})") from error


def local(place: Place) -> Path:
    """A place on this machine, unchanged.

    Raises:
        UsageError: it is a URL.
    """
    if isinstance(place, Path):
        return place
    raise _url_error(place)


def is_dir(place: Place) -> bool:
    """Whether a folder is there and may be looked at. For the errors of URLs, see `exists`."""
    if isinstance(place, Path):
        return os.path.isdir(place)  # noqa: PTH112 - Path.is_dir and the others raise where one may not look
    with _reaching(place):
        return place.is_dir()


def is_file(place: Place) -> bool:
    """Whether a file is there and may be looked at. For the errors of URLs, see `exists`."""
    if isinstance(place, Path):
        return os.path.isfile(place)  # noqa: PTH113
    with _reaching(place):
        return place.is_file()


def exists(place: Place) -> bool:
    """Whether a file or folder is there and may be looked at.

    Raises:
        UsageError: a URL can't be reached, or the package for its scheme is not installed.
    """
    if isinstance(place, Path):
        return os.path.exists(place)  # noqa: PTH110
    with _reaching(place):
        return place.exists()


def absolute(place: Place) -> Place:
    """One spelling for a place that can be written in several ways: no links, no `..`; URLs are left as they are."""
    return Path(os.path.realpath(place)) if isinstance(place, Path) else place


def lexical(place: Place) -> Place:
    """The whole path of a place, with the names of links in it; URLs are left as they are."""
    return Path(os.path.abspath(place)) if isinstance(place, Path) else place  # noqa: PTH100  links stay


def within(place: Place, folder: Place) -> PurePosixPath | None:
    """The path from a folder to a place inside it, by their names alone. None: the place is not inside."""
    if isinstance(place, Path) and isinstance(folder, Path):
        return PurePosixPath(place.relative_to(folder).as_posix()) if place.is_relative_to(folder) else None
    if isinstance(place, Path) or isinstance(folder, Path):
        return None
    return PurePosixPath(str(place.relative_to(folder))) if place.is_relative_to(folder) else None


def files(
    folder: Place,
    refuse: Callable[[Place, str], None],
    enter: Callable[[PurePosixPath], bool] = lambda path: True,
) -> Iterator[PurePosixPath]:
    """All files in a folder and the folders below it, as paths relative to it. Links to folders are not followed.

    Args:
        refuse: called with each folder that can't be searched, and why.
        enter: whether to search a folder below `folder`, given its path relative to it.

    Raises:
        UsageError: a URL can't be reached.
    """
    if isinstance(folder, Path):
        yield from _local_files(folder, refuse, enter)
        return
    with _reaching(folder, "searched"):
        found = folder.fs.find(folder.path)
    for name in found:
        path = PurePosixPath(name[len(folder.path) :].lstrip("/"))
        if all(map(enter, list(path.parents)[:-1])):
            yield path


def _local_files(
    folder: Path, refuse: Callable[[Place, str], None], enter: Callable[[PurePosixPath], bool]
) -> Iterator[PurePosixPath]:
    waiting = [PurePosixPath()]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(folder / inner) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                path = inner / entry.name
                if entry.is_dir(follow_symlinks=False):
                    if enter(path):
                        waiting.append(path)
                elif _may_be_file(entry):
                    yield path
        except OSError as error:
            refuse(folder / inner, f"cannot be searched ({error.strerror})")


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or a link to nothing, which must not be passed over in silence.

    Raises:
        PermissionError: the folder may be listed, but its files can't be reached.
    """
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except PermissionError:
        if entry.is_symlink():  # what it leads to can't be reached
            return True
        raise
    except OSError:
        return entry.is_symlink()


def name_fault(place: Place) -> str | None:
    """Why the file system can't hold a file of this name. None: it can, or the place is a URL."""
    if not isinstance(place, Path):
        return None
    whole = place if place.is_absolute() else Path.cwd() / place
    there = next((parent for parent in whole.parents if os.path.isdir(parent)), whole.parent)  # noqa: PTH112
    for part in reversed(whole.relative_to(there).parts):
        if (length := len(os.fsencode(part))) > (most := _limit(there, "PC_NAME_MAX", 255)):
            return f"the name of its output would have {length} bytes, and at most {most} are possible"
    length = max(len(os.fsencode(place)), len(os.fsencode(place.parent)) + _TEMPORARY)
    if length >= (most := _limit(there, "PC_PATH_MAX", 4096)):
        return f"the path of its output would have {length} bytes, and at most {most - 1} are possible"
    return None


_TEMPORARY = 48
"""Most bytes that the name of an unfinished file has."""


def _limit(folder: Path, name: str, otherwise: int) -> int:
    """A limit of a file system; `otherwise` where the system can't say."""
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return otherwise


@contextmanager
def local_copy(place: Place) -> Iterator[Path]:
    """A file on this machine to read a place from: the place itself, or a copy of what is behind a URL.

    Errors that are raised in the block name the place, not the copy.

    Raises:
        FxsrError: the place can't be read.
    """
    if isinstance(place, Path):
        yield place
        return
    with scratch_folder() as folder:
        copy = Path(folder, f"copy{place.suffix}")
        fetch(place, copy)
        with errors_naming({copy: str(place)}):
            yield copy


def fetch(place: Place, copy: Path) -> None:
    """Copy a file to `copy` on this machine.

    Raises:
        FxsrError: it can't be read.
    """
    try:
        if isinstance(place, Path):
            shutil.copyfile(place, copy)
        else:
            place.fs.get_file(place.path, str(copy))
    except Exception as error:  # fsspec raises whatever its file systems raise
        raise FxsrError(f"{place}: cannot be read ({_reason(error)})") from error


def send(copy: Path, place: Place) -> None:
    """Copy a file of this machine to a place, where it appears whole or not at all.

    Raises:
        FxsrError: it can't be written.
    """
    if isinstance(place, Path):
        with atomic_path(place) as temporary:
            shutil.copyfile(copy, temporary)
        return
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        place.fs.makedirs(place.parent.path, exist_ok=True)
        place.fs.put_file(str(copy), part.path)
        place.fs.mv(part.path, place.path)
    except Exception as error:  # see `fetch`
        with suppress(Exception):
            place.fs.rm_file(part.path)
        raise FxsrError(f"cannot write {place}: {_reason(error)}") from error


def rename_files(text: str, names: Mapping[Path, str]) -> str:
    """A message in which files are called by other names."""
    for path, name in names.items():
        text = text.replace(str(path), name)
    return text


@contextmanager
def errors_naming(names: Mapping[Path, str]) -> Iterator[None]:
    """Errors raised in the block call these files by other names, such as a temporary copy by its source's."""
    try:
        yield
    except FxsrError as error:
        error.args = (rename_files(str(error), names),)
        raise


def _url_error(url: object) -> UsageError:
    return UsageError(f"{url}: URLs are read and written with --ray; give --ray local for this machine alone")


@contextmanager
def _reaching(url: Any, purpose: str = "reached") -> Iterator[None]:
    """Whatever a file system of fsspec raises in the block becomes a UsageError that names the URL."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{url}: {first_line(error)}") from error
    except Exception as error:
        raise UsageError(f"{url}: cannot be {purpose} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
