"""`POST /v1/upscale` without HTTP: an image file from a client in, an image file out, as `fxsr run` does it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import FxsrError, ImageError, StyleError, TooLargeError, UsageError
from fxsr.images.formats import FORMATS
from fxsr.images.reading import open_rows
from fxsr.runtime.jobs.jobs import Job, RunOptions
from fxsr.runtime.jobs.pipeline import do_job
from fxsr.runtime.jobs.places import errors_naming
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
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
_MOST_BMP = 64_000_000
"""Largest number of pixels of a BMP file: its writer holds the image whole, 192 MB, and the file as well."""
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"RIFF", ".webp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0", ".tif"),
    (b"MM\0+", ".tif"),
    (b"BM", ".bmp"),
    (b"GIF8", ".gif"),
)


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
        """The suffix of its format, by its first bytes. Formats whose readers follow links, run scripts or are less
        well tested are refused: the file may come from anyone.

        Raises:
            FxsrError: an `error`, if it has none of these formats.
        """
        with self.path.open("rb") as file:
            head = file.read(12)
        for magic, suffix in _MAGIC:
            if head.startswith(magic) and (magic != b"RIFF" or head[8:] == b"WEBP"):
                return suffix
        if head[4:] == b"ftypavif":
            return ".avif"
        raise error(f"{self.name}: not a PNG, JPEG, WebP, TIFF, GIF, AVIF or BMP file")

    def read_style(self, max_pixels: int) -> StyleMap:
        """Read it as a style map.

        Raises:
            StyleError: it is not an image file, or its values are not styles.
            TooLargeError: it has more than `max_pixels` pixels.
        """
        self.suffix(StyleError)
        with self.named():
            return StyleMap.read(self.path, max_pixels)


@dataclass(frozen=True)
class UpscaledFile:
    """The image file that answers a request."""

    file: Path
    media_type: str
    notes: tuple[str, ...]
    """What could not be kept or had to be changed, one line each."""


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
        format_name: one of `fxsr.images.formats.FORMATS`, in any case; None keeps the image's format, or takes PNG
            where that can't be written.
        progress: called after each tile.

    Raises:
        FxsrError: it can't be done; the message holds no path of this machine.
    """
    kept = image.suffix()
    suffix = format_suffix(format_name) if format_name else kept if kept in MEDIA_TYPES else ".png"
    target = folder / f"output{suffix}"
    with image.named(), errors_naming({target: target.name}):
        if target.suffix == ".bmp":
            _check_bmp(image.path, options.outscale or upscaler.scale, options.max_pixels)
        done = do_job(Job(image.path, target, t_map), upscaler, options, progress)
    return UpscaledFile(target, MEDIA_TYPES[target.suffix], done.notes)


def format_suffix(name: str) -> str:
    """The suffix of a format, such as `.jpg` for `JPEG`.

    Raises:
        UsageError: there is no such format.
    """
    try:
        return FORMATS[name.lower()]
    except KeyError:
        raise UsageError(f"format: {name[:20]!r} is none of {', '.join(FORMATS)}") from None


def _check_bmp(image: Path, scale: float, max_pixels: int | None) -> None:
    """Refuse an output that is too large for a BMP file.

    Raises:
        FxsrError: it is, or the image can't be read.
    """
    rows = open_rows(image, max_pixels)
    pixels = rows.width * rows.height * scale**2
    if pixels > _MOST_BMP:
        raise TooLargeError(
            f"the result would have {pixels / 1e6:.0f} megapixels, and BMP files may have {_MOST_BMP / 1e6:.0f}: "
            "set format to png or tiff"
        )
