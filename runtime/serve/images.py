"""`POST /v1/upscale`: an image file in, an image file out, as `fxsr run` does it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import FxsrError, ImageError, StyleError
from fxsr.images.formats import FORMATS
from fxsr.runtime.jobs.jobs import Failure, Job, RunOptions
from fxsr.runtime.jobs.pipeline import do_job
from fxsr.runtime.serve.scheduler import Flow
from fxsr.runtime.serve.service import ServedModel
from fxsr.runtime.upscale.upscaler import Progress, Upscaler

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".bmp": "image/bmp",
    ".exr": "image/x-exr",
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"RIFF", ".webp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0", ".tif"),
    (b"MM\0+", ".tif"),
    (b"BM", ".bmp"),
)


@dataclass(frozen=True)
class UpscaledFile:
    """An image file that was made."""

    file: Path
    media_type: str
    notes: tuple[str, ...]


def store(upload: BinaryIO, path: Path) -> None:
    """Put an uploaded file where libraries can read it."""
    with path.open("wb") as file:
        shutil.copyfileobj(upload, file)


def upscale_file(
    model: ServedModel,
    flow: Flow,
    folder: Path,
    options: RunOptions,
    format_name: str | None,
    progress: Progress = lambda done, total: None,
) -> UpscaledFile:
    """Upscale `folder`/image, with the style map `folder`/t_map if that is there.

    Args:
        folder: for this request alone; the output is left in it.
        options: with `max_pixels`.
        format_name: of `fxsr.images.formats.FORMATS`; None keeps the image's.
        progress: called after each tile.

    Raises:
        FxsrError: whose text has no path in it.
    """
    image, t_map = folder / "image", folder / "t_map"
    try:
        suffix = file_kind(image, ImageError)
        if t_map.exists():
            file_kind(t_map, StyleError)
        target = folder / f"output{FORMATS[format_name] if format_name else suffix}"
        job = Job(image, target, t_map if t_map.exists() else None)
        upscaler = Upscaler(flow, model.tile, model.overlap)
        result = do_job(job, upscaler, options, progress)
        if isinstance(result, Failure):
            raise result.error or FxsrError(result.reason)
    except FxsrError as error:
        error.args = (str(error).replace(f"{folder}/", ""),)
        raise
    return UpscaledFile(target, MEDIA_TYPES[target.suffix], result.notes)


def file_kind(path: Path, error: type[FxsrError]) -> str:
    """The suffix of a file's format, by its first bytes. Formats whose readers follow links, run scripts or are less
    well tried are not among them: the file may come from anyone.

    Raises:
        FxsrError: an `error`, where it is none of these.
    """
    with path.open("rb") as file:
        head = file.read(12)
    for magic, suffix in _MAGIC:
        if head.startswith(magic) and (magic != b"RIFF" or head[8:] == b"WEBP"):
            return suffix
    raise error(f"{path}: not a PNG, JPEG, WebP, TIFF or BMP file")
