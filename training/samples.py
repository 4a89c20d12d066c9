"""Inputs of several kinds, made once from whole pictures and kept in one memory-mapped file, as in `cache.py`.

`open_cache` is for reductions of photos, with crops that are degraded again each time, if at all. Here all inputs exist
before training, so teachers can upscale them, and each crop has a teacher's picture as well as a photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fxsr.errors import ImageError, UsageError
from fxsr.training.cache import Entry, ImageCache, Pixels, cache_key, find_images, kept_or_made, read_rgb
from fxsr.training.degrade import degrade
from fxsr.training.recipe_data import Data, Input
from fxsr.training.resize import reduce_uint8

_FORMAT = 1
"""Part of a file's key: raise it when what is stored changes."""


def inputs_of(data: Data) -> tuple[Input, ...]:
    """The kinds of input of a recipe; if it names none, the reductions of its photos, one kind for each folder that has
    a weight."""
    if data.weights:
        pairs = zip(data.hr_folders, data.weights, strict=True)
        return tuple(Input(name=str(folder), hr=str(folder), share=weight) for folder, weight in pairs)
    return data.inputs or (Input(name="reduced"),)


def open_samples(
    folder: Path,
    data: Data,
    scale: int,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, int, int], None] = lambda what, done, count: None,
    most: int | None = None,
) -> ImageCache:
    """Open the cache of a recipe's inputs in `folder`; make the inputs first if pictures or recipe have changed.

    Pictures that can't be used are reported with `tell` and left out.

    Args:
        folder: folder of all caches; created if missing.
        data: the pictures and their degradation.
        scale: photo size over input size.
        seed: random values depend on the seed and on the numbers of kind, picture and variant alone.
        tell: receives messages for the user.
        progress: called after each input with "inputs", the number done and the total.
        most: how many pictures of each kind to use, the first that can be used; None: all.

    Raises:
        UsageError: no folder is given, one is missing, or a kind of input has no picture that can be used.
    """
    kinds = inputs_of(data)
    sources = [_sources(each, data) for each in kinds]
    facts = [
        _FORMAT,
        "samples",
        scale,
        seed,
        data.patch,
        *(_input_facts(each) for each in kinds),
        *([] if most is None else [most]),
    ]
    key = cache_key(facts, [path for paths in sources for path in paths])
    count = sum(len(paths[:most]) * kind.variants for kind, paths in zip(kinds, sources, strict=True))

    def write(file: BinaryIO) -> list[Entry]:
        entries: list[Entry] = []
        for number, (kind, paths) in enumerate(zip(kinds, sources, strict=True)):
            before = len(entries)
            for name, hr, lr in islice(
                _make_inputs(kind, number, paths, data, scale, seed, tell), most and most * kind.variants
            ):
                height, width = lr.shape[0] * scale, lr.shape[1] * scale
                entries.append(Entry(name, height, width, file.tell(), number, hr is None))
                if hr is not None:
                    file.write(hr.tobytes())
                file.write(lr.tobytes())
                progress("inputs", len(entries), count)
            if len(entries) == before:
                raise UsageError(f"none of the {len(paths)} images of inputs {kind.name} can be used")
        return entries

    return kept_or_made(folder / key, scale, write, tell)


def count_taught(data: Data) -> int:
    """How many inputs of a recipe teachers upscale, at most: pictures that can't be used are only found later."""
    return sum(len(_sources(kind, data)) * kind.variants for kind in inputs_of(data) if kind.taught)


def _sources(kind: Input, data: Data) -> list[Path]:
    folders = kind.folders or data.hr_folders
    if not folders:
        raise UsageError(f"inputs {kind.name}: no folder of training images is given; --set data.hr=FOLDER")
    return [path for folder in folders for path in find_images(folder)]


def _input_facts(kind: Input) -> str:
    """Everything but the pictures that determines the inputs of a kind; `share` does not."""
    return repr((kind.native, kind.taught, kind.variants, kind.crop, kind.degradation))


def _make_inputs(
    kind: Input,
    number: int,
    paths: Sequence[Path],
    data: Data,
    scale: int,
    seed: int,
    tell: Callable[[str], None],
) -> Iterator[tuple[str, Pixels | None, Pixels]]:
    """Name, photo (None: native) and input, every variant of every picture."""
    side = data.patch // scale + 2 * kind.margin
    for place, path in enumerate(paths):
        try:
            pixels = read_rgb(path)
        except ImageError as error:
            tell(f"left out: {error}")
            continue
        step = 1 if kind.native else scale
        if min(pixels.shape[:2]) < side * step:
            tell(f"left out: {path}: {pixels.shape[1]}x{pixels.shape[0]} is less than {side * step}x{side * step}")
            continue
        for variant in range(kind.variants):
            rng = np.random.default_rng([seed, number, place, variant])
            whole = _cut(pixels, max(kind.crop, side) * step if kind.crop else 0, step, rng)
            if kind.degradation:
                lr = degrade(whole, step, kind.degradation, rng)
            else:
                lr = whole if kind.native else reduce_uint8(whole, scale)
            yield f"{path.stem}-{variant}", None if kind.native else whole, np.ascontiguousarray(lr)


def _cut(pixels: Pixels, most: int, step: int, rng: np.random.Generator) -> Pixels:
    """Cut a random part with sides of at most `most` pixels (0: no limit) that are multiples of `step`."""
    height, width = (min(most or size, size) // step * step for size in pixels.shape[:2])
    y, x = (int(rng.integers(size - side + 1)) for size, side in zip(pixels.shape[:2], (height, width), strict=True))
    return np.ascontiguousarray(pixels[y : y + height, x : x + width])
