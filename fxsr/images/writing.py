"""Writes images to files while their rows arrive from top to bottom. Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxsr.errors import ImageError
from fxsr.files import atomic_path, disk_is_full
from fxsr.images.bmp import bmp_fits, write_bmp
from fxsr.images.exr import write_exr
from fxsr.images.formats import DEPTHS, SIDE_LIMIT, WITHOUT_ALPHA, WITHOUT_PROFILE, WRITABLE
from fxsr.images.icc import PROFILE, profile_space, to_srgb
from fxsr.images.metadata.claims import resampled as resampled_metadata
from fxsr.images.metadata.values import Metadata
from fxsr.images.metadata.writing import MetadataWriter, add_metadata
from fxsr.images.reading import reason, vips_bands
from fxsr.images.resample import resampled
from fxsr.images.rows import Pixels, Rows, dtype_peak
from fxsr.images.vips_pipe import through_vips

if TYPE_CHECKING:
    import pyvips

_QUALITY = 95
_BIG = 2**31
"""Bytes of pixels above which TIFF becomes tiled BigTIFF: classic TIFF ends at 4 GB, for some readers at 2 GB."""
_LARGE = 2**27
"""Pixels from which JPEG's tables are not optimised, which would hold the coefficients of the whole image."""


def write_rows(
    path: Path | str,
    rows: Rows,
    quality: int | None = None,
    size: tuple[int, int] | None = None,
    lossless: bool = False,
) -> tuple[str, ...]:
    """Write an image in the format of its suffix. Only WebP holds the image whole.

    TIFF files beyond 2 GB become tiled BigTIFF.

    Args:
        quality: quality of JPEG and WebP, 1..100. None: 95, or lossless WebP for rows of a lossless WebP file.
        size: width and height to resample it to; None keeps its size.
        lossless: the file must hold all pixels exactly; see `check_target`.

    Returns:
        What the format could not hold, one line each.

    Raises:
        ImageError: the format is unknown or can't hold this image, or the library failed.
        FxsrError: the file can't be written.
        Any error that the rows raise.
    """
    import pyvips

    path = Path(path)
    suffix = path.suffix.lower()
    width, height = size or (rows.width, rows.height)
    check_target(path, width, height, lossless)
    lossless |= quality is None and rows.lossless
    fitted, notes = _fit(rows, suffix)
    metadata = resampled_metadata(rows.metadata, width, height)
    to_convert = _needs_srgb(fitted, suffix)
    if to_convert:
        metadata = replace(metadata, icc=b"")
    lost: list[str] = []

    with atomic_path(path) as temporary:

        def encode(image: pyvips.Image) -> None:
            image = _describe(image, fitted)
            if to_convert:
                image.set_type(pyvips.GValue.blob_type, PROFILE, fitted.metadata.icc)
                image = to_srgb(image)
            image = resampled(image, width, height)
            if suffix == ".bmp":
                write_bmp(temporary, image.height, image.width, image.bands, vips_bands(image))
            elif suffix == ".exr":
                write_exr(temporary, image.height, image.width, image.bands, vips_bands(image))
            elif suffix in (".tif", ".tiff"):
                image.write_to_file(str(temporary), keep="none", **_options(suffix, image, _QUALITY, lossless))
            else:
                options = _options(suffix, image, quality or _QUALITY, lossless)
                lost.extend(_write_streamed(temporary, image, suffix, metadata, options))

        try:
            through_vips(fitted, encode)
        except (pyvips.Error, UnicodeEncodeError) as error:  # the latter for a folder's name
            raise ImageError(f"{path}: cannot be written ({_reason(error, temporary.parent)})") from error
        if suffix in (".tif", ".tiff", ".bmp", ".exr"):
            lost += add_metadata(temporary, suffix, metadata)
    return (*notes, *lost)


def _write_streamed(
    path: Path, image: pyvips.Image, suffix: str, metadata: Metadata, options: Mapping[str, Any]
) -> list[str]:
    """Write PNG, JPEG or WebP with metadata. libvips, whose own is left out, can't seek in what it writes.

    Returns:
        What the format can't hold of the metadata, one line each.
    """
    import pyvips

    failures: list[OSError] = []
    with path.open("wb") as file:
        writer = MetadataWriter(file, suffix, metadata, image.width, image.height)

        def write(data: Any) -> int:
            try:
                return writer.write(memoryview(data))
            except OSError as error:  # it can't pass libvips
                failures.append(error)
                return -1

        target = pyvips.TargetCustom()
        target.on_write(write)
        try:
            image.write_to_target(target, suffix, keep="none", **options)
        except pyvips.Error:
            if failures:
                raise failures[0] from None
            raise
        writer.finish()
    return writer.notes


def _reason(error: Exception, folder: Path) -> str:
    """Why libvips could not write to a folder. Its TIFF writer loses the system's error."""
    return os.strerror(errno.ENOSPC) if disk_is_full(folder) else reason(error)


def check_target(path: Path, width: int, height: int, lossless: bool = False) -> None:
    """Refuse an image that can't be written, before it is upscaled.

    Raises:
        ImageError: the format is unknown, can't hold an image of this size, or loses although `lossless` is demanded.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(
            f"{path}: cannot write {suffix or 'a file without suffix'}; choose {', '.join(sorted(WRITABLE))}"
        )
    if lossless and suffix in (".jpg", ".jpeg"):
        raise ImageError(f"{path}: JPEG files can't be lossless; choose the format png or webp")
    limit = SIDE_LIMIT.get(suffix)
    if limit and max(height, width) > limit:
        raise ImageError(
            f"{path}: {width}x{height} is too large for {suffix} (at most {limit} a side); use png or tiff"
        )
    if suffix == ".bmp" and not bmp_fits(width, height):
        raise ImageError(f"{path}: {width}x{height} is too large for .bmp (at most 4 GB a file); use png or tiff")


def _describe(image: pyvips.Image, rows: Rows) -> pyvips.Image:
    """The image with its colour space."""
    deep = rows.dtype == np.uint16
    colour = "rgb16" if deep else "scrgb" if rows.dtype.kind == "f" else "srgb"
    grey = "grey16" if deep else "b-w"
    return image.copy(interpretation=grey if rows.channels < 3 else colour)


def _fit(rows: Rows, suffix: str) -> tuple[Rows, tuple[str, ...]]:
    """Reduce depth and alpha to what the format holds, with a note for each."""
    notes = []
    steps: list[Callable[[Pixels], Pixels]] = []
    dtype, channels = rows.dtype, rows.channels
    held = DEPTHS.get(suffix, ("uint8",))
    if dtype.name not in held:
        target = np.dtype(held[-1])
        if np.can_cast(dtype, target) or dtype.kind == "f" == target.kind:
            steps.append(lambda pixels: _convert(pixels, target))
        else:
            steps.append(lambda pixels: _convert(pixels.clip(0, 1) if pixels.dtype.kind == "f" else pixels, target))
            cut = "; anything outside 0..1 is cut" if dtype.kind == "f" else ""
            notes.append(f"{suffix} holds no {dtype.name}: reduced to {target.name}{cut}")
        dtype = target
    if _needs_srgb(rows, suffix):
        which = "grey ICC profile" if suffix not in WITHOUT_PROFILE else "ICC profile"
        cut = "; anything outside 0..1 is cut" if rows.dtype.kind == "f" else ""
        notes.append(f"{suffix} holds no {which}: colours are converted to sRGB by it{cut}")
    if suffix in WITHOUT_ALPHA and channels in (2, 4):
        notes.append(f"{suffix} holds no alpha: laid on white")
        steps.append(_on_white)
        channels -= 1

    def fit(pixels: Pixels) -> Pixels:
        for step in steps:
            pixels = step(pixels)
        return pixels

    return replace(rows, dtype=dtype, channels=channels, bands=map(fit, rows.bands)), tuple(notes)


def _needs_srgb(rows: Rows, suffix: str) -> bool:
    """Whether the format can't hold the image's profile. WebP holds grey as RGB, which a grey profile doesn't fit."""
    profile = rows.metadata.icc
    grey = rows.channels < 3 and suffix == ".webp" and bool(profile) and profile_space(profile) == "GRAY"
    return bool(profile) and (suffix in WITHOUT_PROFILE or grey)


def _convert(pixels: Pixels, target: np.dtype[Any]) -> Pixels:
    """The same intensities as another type."""
    factor = dtype_peak(target) / dtype_peak(pixels.dtype)
    converted: Pixels = (pixels * factor + (0 if target.kind == "f" else 0.5)).astype(target)
    return converted


def _on_white(pixels: Pixels) -> Pixels:
    """8-bit colours with alpha, blended onto white."""
    alpha = pixels[..., -1:].astype(np.float32) / 255
    laid: Pixels = (pixels[..., :-1] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return laid


def _options(suffix: str, image: pyvips.Image, quality: int, lossless: bool) -> Mapping[str, Any]:
    match suffix:
        case ".jpg" | ".jpeg":
            optimize = image.width * image.height < _LARGE
            return {"Q": quality, "subsample_mode": "off", "optimize_coding": optimize}
        case ".webp" if lossless:
            return {"lossless": True, "exact": True}
        case ".webp":
            return {"Q": quality, "smart_subsample": True}
        case ".tif" | ".tiff":
            floats = image.format == "float"
            item = {"uchar": 1, "ushort": 2, "float": 4}[image.format]
            options = {"compression": "deflate", "predictor": "float" if floats else "horizontal"}
            if image.width * image.height * image.bands * item <= _BIG:
                return options
            return options | {"bigtiff": True, "tile": True, "tile_width": 256, "tile_height": 256}
        case _:
            return {"compression": 6}
