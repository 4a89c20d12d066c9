"""Inputs for comparing two forms of a network: photos at several styles, with style maps, and in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import UsageError
from fxsr.images.image import READABLE, dtype_peak, read_image

Array = NDArray[np.float32]

_STYLES = (0.0, 0.5, 1.0)
_CELL = 8
"""Side of a checkerboard's squares, in pixels."""


@dataclass(frozen=True)
class Case:
    """One input to compare outputs on."""

    name: str
    lr: Array
    """(N, 3, H, W)."""
    t_map: Array
    """(N or 1, 1, H or 1, W or 1)."""


@dataclass(frozen=True)
class CaseShapes:
    """Sizes and batches of the inputs."""

    sizes: tuple[tuple[int, int], ...] = ((48, 64), (37, 29))
    """Heights and widths, LR pixels."""
    batches: tuple[int, ...] = (1, 2)
    """The first applies to almost all cases. Each further one adds a case with one style and a case with maps."""


def bundled_photos() -> dict[str, Array]:
    """The photos that come with fxsr, (H, W, 3) float32 in 0..1, by name."""
    found = {}
    for entry in sorted(files("fxsr.export").joinpath("photos").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".png"):
            with as_file(entry) as path:
                found[path.stem] = _read(Path(path))
    return found


def read_photos(paths: Sequence[Path]) -> dict[str, Array]:
    """Read photos from files and folders, as `bundled_photos` does, by path.

    Raises:
        UsageError: a folder without images.
        ImageError: a file can't be read.
    """
    found = {}
    for path in paths:
        if not path.is_dir():
            found[str(path)] = _read(path)
            continue
        here = sorted(file for file in path.iterdir() if file.suffix.lower() in READABLE)
        if not here:
            raise UsageError(f"{path}: no images in this folder")
        found |= {str(file): _read(file) for file in here}
    return found


def make_cases(
    photos: Mapping[str, Array] | None = None, baked_t: float | None = None, shapes: CaseShapes | None = None
) -> Iterator[Case]:
    """Cases for every photo and size, at t = 0, 0.5 and 1, with a ramp and with a checkerboard; and larger batches.

    Args:
        photos: (H, W, 3) in 0..1, by name. Small ones are extended by reflection. None: the bundled photos.
        baked_t: use only this style. None: use several styles, and maps.
        shapes: sizes and batches. None: two sizes, and batches of one and two.
    """
    photos = bundled_photos() if photos is None else photos
    shapes = shapes or CaseShapes()
    usual, *others = shapes.batches
    for photo_name, photo in photos.items():
        for height, width in shapes.sizes:
            name = f"{photo_name} {width}x{height}"
            lr = np.stack([_crop(photo, height, width)] * usual)
            for style, t_map in _styles(height, width, baked_t):
                yield Case(f"{name} t={style}", lr, t_map)
    height, width = min(shapes.sizes)
    for count in others:
        crops = (_crop(photo, height, width) for photo in photos.values())
        lr = np.stack(list(islice(cycle(list(crops)), count)))
        t = 0.5 if baked_t is None else baked_t
        yield Case(f"batch of {count}, t={t:g}", lr, _uniform(t))
        if baked_t is None:
            maps = np.random.default_rng(0).random((count, 1, height, width), np.float32)
            yield Case(f"batch of {count}, t=map", lr, maps)


def _styles(height: int, width: int, baked_t: float | None) -> Iterable[tuple[str, Array]]:
    if baked_t is not None:
        return [(f"{baked_t:g}", _uniform(baked_t))]
    ramp = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width)).astype(np.float32)
    fields = (np.add.outer(np.arange(height) // _CELL, np.arange(width) // _CELL) % 2).astype(np.float32)
    maps = [("ramp", ramp[None, None]), ("checkerboard", fields[None, None])]
    return [(f"{t:g}", _uniform(t)) for t in _STYLES] + maps


def _uniform(t: float) -> Array:
    return np.full((1, 1, 1, 1), t, np.float32)


def _crop(photo: Array, height: int, width: int) -> Array:
    """The middle of a photo, (3, height, width)."""
    missing = [(0, max(0, wanted - there)) for wanted, there in zip((height, width), photo.shape[:2], strict=True)]
    whole = np.pad(photo, (*missing, (0, 0)), "symmetric")
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    return np.ascontiguousarray(whole[top : top + height, left : left + width].transpose(2, 0, 1))


def _read(path: Path) -> Array:
    pixels = read_image(path, srgb=True).pixels
    colours = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    return np.broadcast_to(colours / np.float32(dtype_peak(pixels.dtype)), (*pixels.shape[:2], 3)).astype(np.float32)
