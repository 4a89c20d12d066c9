"""What is upscaled to see whether two forms of a network agree: real photos, over t, with maps, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
"""Pixels of a checkerboard's field."""


@dataclass(frozen=True)
class Case:
    """One thing to upscale."""

    name: str
    lr: Array
    """(N, 3, H, W)."""
    t_map: Array
    """(N or 1, 1, H or 1, W or 1)."""


@dataclass(frozen=True)
class Shapes:
    """In which sizes and batches photos are given."""

    sizes: tuple[tuple[int, int], ...] = ((48, 64), (37, 29))
    """Heights and widths, LR pixels."""
    batches: tuple[int, ...] = (1, 2)
    """The first is taken for all cases but one, further ones for one case with a style and one with maps each."""


@dataclass(frozen=True)
class Material:
    """What cases are made of."""

    photos: Mapping[str, Array] = field(default_factory=lambda: bundled_photos())
    """(H, W, 3) in 0..1, by name."""
    baked_t: float | None = None
    """Only this style. None: several, and maps."""


def bundled_photos() -> dict[str, Array]:
    """The photos that come with fxsr, (H, W, 3) float32 in 0..1, by name."""
    found = {}
    for entry in sorted(files("fxsr.export").joinpath("photos").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".png"):
            with as_file(entry) as path:
                found[path.stem] = _read(Path(path))
    return found


def read_photos(paths: Sequence[Path]) -> dict[str, Array]:
    """Photos from files and folders, as `bundled_photos` gives them, by file name.

    Raises:
        UsageError: a folder without images.
        ImageError: a file can't be read.
    """
    found = {}
    for path in paths:
        if not path.is_dir():
            found[path.name] = _read(path)
            continue
        here = sorted(file for file in path.iterdir() if file.suffix.lower() in READABLE)
        if not here:
            raise UsageError(f"{path}: no images in this folder")
        found |= {file.name: _read(file) for file in here}
    return found


def make_cases(material: Material, shapes: Shapes | None = None) -> Iterator[Case]:
    """Photos in all sizes: at t = 0, 0.5, 1, with a ramp and with a checkerboard of 0 and 1; and larger batches.

    Args:
        material: photos; too small ones are continued by their mirror images.
        shapes: of the cases; None takes two sizes, and batches of one and two.
    """
    shapes = shapes or Shapes()
    usual, *others = shapes.batches
    for photo_name, photo in material.photos.items():
        for height, width in shapes.sizes:
            name = f"{photo_name} {width}x{height}"
            lr = np.stack([_crop(photo, height, width)] * usual)
            for style, t_map in _styles(height, width, material.baked_t):
                yield Case(f"{name} t={style}", lr, t_map)
    height, width = min(shapes.sizes)
    for count in others:
        crops = (_crop(photo, height, width) for photo in material.photos.values())
        lr = np.stack(list(islice(cycle(list(crops)), count)))
        yield Case(f"batch of {count}, t=0.5", lr, _uniform(0.5 if material.baked_t is None else material.baked_t))
        if material.baked_t is None:
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
    """(3, height, width) from the photo's middle."""
    missing = [(0, max(0, wanted - there)) for wanted, there in zip((height, width), photo.shape[:2], strict=True)]
    whole = np.pad(photo, (*missing, (0, 0)), "symmetric")
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    return np.ascontiguousarray(whole[top : top + height, left : left + width].transpose(2, 0, 1))


def _read(path: Path) -> Array:
    pixels = read_image(path).pixels
    colours = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    return np.broadcast_to(colours / np.float32(dtype_peak(pixels.dtype)), (*pixels.shape[:2], 3)).astype(np.float32)
