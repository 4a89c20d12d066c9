"""Inputs of several kinds, made once from whole pictures and kept in one memory-mapped file, as in `cache.py`.

`open_cache` is for reductions of photos, with crops that are degraded again each time, if at all. Here all inputs exist
before training, so teachers can upscale them, and each crop has a teacher's picture as well as a photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fxsr.errors import ImageError, UsageError
from fxsr.training.cache import Entry, ImageCache, Pixels, cache_key, find_pairs, kept_or_made, load_pair, read_rgb
from fxsr.training.degrade import degrade
from fxsr.training.recipe_data import Data, Input
from fxsr.training.resize import reduce_uint8

_FORMAT = 2
"""Part of a file's key: raise it when what is stored changes."""


@dataclass(frozen=True)
class _Source:
    """The files that inputs are made of."""

    folder: Path
    """Folder of the recipe that holds `image`."""
    image: Path
    reduction: Path | None
    """None: the inputs are made of the image."""


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
        data: the pictures, their reductions if they are given, and their degradation.
        scale: photo size over input size.
        seed: random values depend on the seed and on the numbers of kind, picture and variant alone.
        tell: receives messages for the user.
        progress: called after each input with "inputs", the number done and the total.
        most: how many pictures of each kind to use, the first that can be used; None: all.

    Raises:
        UsageError: no folder is given, one is missing, or a kind of input has no picture that can be used.
    """
    kinds = inputs_of(data)
    sources = _sources(data)
    facts = [
        _FORMAT,
        "samples",
        scale,
        seed,
        data.patch,
        *map(_input_facts, kinds, sources),
        *([] if most is None else [most]),
    ]
    paths = [path for each in sources for source in each for path in (source.image, source.reduction) if path]
    key = cache_key(facts, paths)
    count = sum(len(each[:most]) * kind.variants for kind, each in zip(kinds, sources, strict=True))

    def write(file: BinaryIO) -> list[Entry]:
        entries: list[Entry] = []
        for number, (kind, images) in enumerate(zip(kinds, sources, strict=True)):
            before = len(entries)
            for source, variant, hr, lr in islice(
                _make_inputs(kind, number, images, data, scale, seed, tell), most and most * kind.variants
            ):
                entries.append(
                    Entry(
                        name=f"{source.image.stem}-{variant}",
                        height=lr.shape[0] * scale,
                        width=lr.shape[1] * scale,
                        hr=file.tell(),
                        kind=number,
                        native=hr is None,
                        folder=str(source.folder),
                        inside=str(source.image.relative_to(source.folder)),
                        variant=variant,
                    )
                )
                if hr is not None:
                    file.write(hr.tobytes())
                file.write(lr.tobytes())
                progress("inputs", len(entries), count)
            if len(entries) == before:
                raise UsageError(f"none of the {len(images)} images of inputs {kind.name} can be used")
        return entries

    return kept_or_made(folder / key, scale, write, tell)


def count_taught(data: Data) -> int:
    """How many inputs of a recipe teachers upscale, at most: pictures that can't be used are only found later."""
    pairs = zip(inputs_of(data), _sources(data), strict=True)
    return sum(len(sources) * kind.variants for kind, sources in pairs if kind.taught)


def _sources(data: Data) -> list[list[_Source]]:
    """The files of every kind of input."""
    found = []
    for number, kind in enumerate(inputs_of(data)):
        folders = kind.folders or data.hr_folders
        if not folders:
            raise UsageError(f"inputs {kind.name}: no folder of training images is given; --set data.hr=FOLDER")
        reductions = data.lr_folders[number:] if data.weights else data.lr_folders  # with weights, a kind is a folder
        found.append(
            [
                _Source(folder, image, reduction)
                for place, folder in enumerate(folders)
                for image, reduction in find_pairs([folder], reductions[place : place + 1])
            ]
        )
    return found


def _input_facts(kind: Input, sources: Sequence[_Source]) -> str:
    """Everything but the files that determines the inputs of a kind; `share` does not."""
    places = [(str(source.folder.resolve()), source.reduction is not None) for source in sources]
    return repr((kind.native, kind.taught, kind.variants, kind.crop, kind.degradation, places))


def _make_inputs(
    kind: Input,
    number: int,
    sources: Sequence[_Source],
    data: Data,
    scale: int,
    seed: int,
    tell: Callable[[str], None],
) -> Iterator[tuple[_Source, int, Pixels | None, Pixels]]:
    """Files, number of the variant, photo (None: native) and input, every variant of every picture."""
    for place, source in enumerate(sources):
        try:
            for variant, (hr, lr) in enumerate(_variants(kind, source, data.patch, scale, (seed, number, place))):
                yield source, variant, hr, lr
        except ImageError as error:
            tell(f"left out: {error}")


def _variants(
    kind: Input, source: _Source, patch: int, scale: int, seed: tuple[int, ...]
) -> Iterator[tuple[Pixels | None, Pixels]]:
    """Photo (None: native) and input of each variant of a picture; raises ImageError if it can't be used."""
    if source.reduction:
        yield load_pair(source.image, source.reduction, scale, patch, f"less than a crop of {patch}x{patch}")
        return
    pixels = read_rgb(source.image)
    step = 1 if kind.native else scale
    side = patch // scale + 2 * kind.margin
    if min(pixels.shape[:2]) < side * step:
        raise ImageError(
            f"{source.image}: {pixels.shape[1]}x{pixels.shape[0]} is less than {side * step}x{side * step}"
        )
    for variant in range(kind.variants):
        rng = np.random.default_rng([*seed, variant])
        whole = _cut(pixels, max(kind.crop, side) * step if kind.crop else 0, step, rng)
        if kind.degradation:
            lr = degrade(whole, step, kind.degradation, rng)
        else:
            lr = whole if kind.native else reduce_uint8(whole, scale)
        yield None if kind.native else whole, np.ascontiguousarray(lr)


def _cut(pixels: Pixels, most: int, step: int, rng: np.random.Generator) -> Pixels:
    """Cut a random part with sides of at most `most` pixels (0: no limit) that are multiples of `step`."""
    height, width = (min(most or size, size) // step * step for size in pixels.shape[:2])
    y, x = (int(rng.integers(size - side + 1)) for size, side in zip(pixels.shape[:2], (height, width), strict=True))
    return np.ascontiguousarray(pixels[y : y + height, x : x + width])
