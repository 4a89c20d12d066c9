"""`POST /v1/upscale` without HTTP: an image file from a client in, an image file out, as `fxsr run` does it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import FxsrError, ImageError, StyleError, UsageError, foreign_name
from fxsr.images.formats import FORMATS, WRITABLE
from fxsr.images.kinds import find_kind
from fxsr.images.reading import open_rows
from fxsr.runtime.jobs.jobs import Job, RunOptions
from fxsr.runtime.jobs.pipeline import do_job
from fxsr.runtime.jobs.places import errors_naming
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import StyleMap

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".bmp": "image/bmp",
    ".exr": "image/x-exr",
}
FORMAT_NAMES = tuple({suffix: name for name, suffix in reversed(FORMATS.items())}.values())[::-1]
"""One name of `fxsr.images.formats.FORMATS` for each format."""


@dataclass(frozen=True)
class ClientFile:
    """An image file that a client sent. Its contents are not trusted, and its path is not shown to clients."""

    path: Path
    """Where it lies on this machine."""
    name: str
    """What error messages call it."""

    @staticmethod
    def store(upload: BinaryIO, folder: Path, name: str) -> ClientFile:
        """Write an upload into a folder, since image libraries read files."""
        path = folder / name
        with path.open("wb") as file:
            shutil.copyfileobj(upload, file)
        return ClientFile(path, name)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors raised in the block call the file by its name."""
        with errors_naming({self.path: self.name}):
            yield

    def suffix(self, error: type[FxsrError] = ImageError) -> str:
        """The suffix of its format, by its first bytes.

        Raises:
            FxsrError: an `error`, if it has none of the formats that are read.
        """
        with self.named():
            try:
                return find_kind(self.path).suffix
            except ImageError as why:
                raise error(str(why)) from why

    def size(self, max_pixels: int) -> tuple[int, int]:
        """Width and height, from its header.

        Raises:
            ImageError: it is not an image that can be read, or its header is damaged.
            TooLargeError: it has more than `max_pixels` pixels.
        """
        self.suffix()
        with self.named():
            rows = open_rows(self.path, max_pixels)
            return rows.width, rows.height

    def read_style(self, max_pixels: int) -> StyleMap:
        """Read it as a style map.

        Raises:
            StyleError: it is not an image file, or its values are not styles.
            TooLargeError: it has more than `max_pixels` pixels.
        """
        self.suffix(StyleError)
        with self.named():
            return StyleMap.read(self.path, max_pixels)

    def make_style(self, style: AutomaticStyle, max_pixels: int) -> StyleMap:
        """Make an automatic style map from it, which may take half a gigabyte of memory.

        Raises:
            ImageError: it can't be read.
            TooLargeError: it has more than `max_pixels` pixels.
        """
        self.suffix()
        with self.named():
            return style.read(self.path, max_pixels)


@dataclass(frozen=True)
class UpscaledFile:
    """The image file that answers a request."""

    file: Path
    media_type: str
    notes: tuple[str, ...]
    """What could not be kept or had to be changed, one line each."""

    def moved_to(self, file: Path) -> UpscaledFile:
        """The same, at another place."""
        return replace(self, file=file)


def upscale_file(
    upscaler: Upscaler,
    image: ClientFile,
    t_map: StyleMap | None,
    folder: Path,
    options: RunOptions,
    format_name: str | None,
    progress: Progress = lambda done, total: None,
) -> UpscaledFile:
    """Upscale an image file.

    Args:
        t_map: its style map; None: `options.style` alone.
        folder: where the output is written; for this request alone.
        options: with `max_pixels`.
        format_name: one of `fxsr.images.formats.FORMATS`, in any case; None keeps the image's format, or takes
            PNG where that can't be written.
        progress: called after each tile.

    Raises:
        FxsrError: it can't be done; the message holds no path of this machine.
    """
    kept = image.suffix()
    suffix = format_suffix(format_name) if format_name else kept if kept in WRITABLE else ".png"
    target = folder / f"output{suffix}"
    with image.named(), errors_naming({target: target.name}):
        done = do_job(Job(image.path, target, t_map), upscaler, options, progress)
    return UpscaledFile(target, MEDIA_TYPES[target.suffix], done.notes)


def parse_automatic(words: str) -> AutomaticStyle:
    """The automatic style map that a client asks for in place of a file, such as `auto:faces+focus`.

    Raises:
        UsageError: the words name none.
        MissingExtraError: a package that it needs is not installed.
    """
    style = AutomaticStyle.parse(words)
    if style is None:
        raise UsageError(
            f"t_map: {foreign_name(words)!r} is no style map; send an image file, the word auto, or names as in "
            "auto:faces+focus"
        )
    style.check_installed()
    return style


def format_suffix(name: str) -> str:
    """The suffix of a format, such as `.jpg` for `JPEG`.

    Raises:
        UsageError: there is no such format.
    """
    try:
        return FORMATS[name.lower()]
    except KeyError:
        raise UsageError(f"format: {name[:20]!r} is none of {', '.join(FORMATS)}") from None
