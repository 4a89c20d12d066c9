"""Training images, decoded once into one memory-mapped file: HR pixels and their reductions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError, UsageError, first_line
from fxsr.files import atomic_path, remove_unfinished
from fxsr.images.image import READABLE, read_image, three_channels
from fxsr.training.resize import reduce_uint8

Pixels = NDArray[np.uint8]
_FORMAT = 3
"""Part of a cache's key: raise it when what is stored changes."""


@dataclass(frozen=True)
class Entry:
    """The place of one image in the cache."""

    name: str
    height: int
    """Height of the HR image in pixels, a multiple of the scale. `width` likewise."""
    width: int
    hr: int
    """Offset of the HR pixels in bytes; the pixels of the reduction follow them."""
    kind: int = 0
    """Number of the kind of input in the recipe, from 0; if it names none, of the folder."""
    native: bool = False
    """True if there are no HR pixels; the offset is then that of the input."""
    folder: str = ""
    """Folder of the recipe that the image was found in, if teachers may have pictures of it. `inside` likewise."""
    inside: str = ""
    """Path of the image in that folder."""
    variant: int = 0
    """Number of the variant of the image, from 0."""


class ImageCache:
    """Pairs of HR and LR images, each (H, W, 3) uint8, read from disk as they are used."""

    def __init__(self, path: Path, entries: Sequence[Entry], scale: int) -> None:
        self.path = path
        self.entries = tuple(entries)
        self.scale = scale
        self._bytes = np.memmap(path, np.uint8, "r")

    def __len__(self) -> int:
        return len(self.entries)

    def pair(self, index: int) -> tuple[Pixels, Pixels]:
        """HR and LR pixels of an image.

        Raises:
            ValueError: it is native and has no HR pixels.
        """
        hr = self.photo(index)
        if hr is None:
            raise ValueError(f"{self.entries[index].name} is native: it has no HR pixels")
        return hr, self.input(index)

    def photo(self, index: int) -> Pixels | None:
        """HR pixels (H, W, 3); None if the image is native."""
        entry = self.entries[index]
        if entry.native:
            return None
        end = entry.hr + entry.height * entry.width * 3
        return self._bytes[entry.hr : end].reshape(entry.height, entry.width, 3)

    def input(self, index: int) -> Pixels:
        """LR pixels (H/scale, W/scale, 3)."""
        entry = self.entries[index]
        small = entry.height // self.scale, entry.width // self.scale
        begin = entry.hr + (0 if entry.native else entry.height * entry.width * 3)
        return self._bytes[begin : begin + small[0] * small[1] * 3].reshape(*small, 3)


def open_cache(
    folder: Path,
    hr_folders: Sequence[Path],
    lr_folders: Sequence[Path],
    scale: int,
    smallest: int,
    tell: Callable[[str], None] = lambda _: None,
    most: int | None = None,
) -> ImageCache:
    """Open the cache of these images in `folder`; decode them first if they are new or have changed.

    Images that can't be used are reported with `tell` and left out.

    Args:
        folder: folder of all caches; created if missing.
        hr_folders: folders that are searched recursively for images.
        lr_folders: one for each of `hr_folders`, with the reductions under the same relative names; empty: MATLAB's
            bicubic reduction of each whole image.
        scale: HR size over LR size; HR images are cut to a multiple of it.
        smallest: smallest height and width of an HR image, in pixels.
        tell: receives messages for the user.
        most: how many images of each folder to use, the first that can be used; None: all.

    Raises:
        FxsrError: the cache can't be written.
        UsageError: no folder is given, one is missing, or none of the images can be used.
    """
    if not hr_folders:
        raise UsageError("no folder of training images is given; --set data.hr=FOLDER")
    by_folder = [
        list(find_pairs(hr_folders[number : number + 1], lr_folders[number : number + 1]))
        for number in range(len(hr_folders))
    ]
    sources = [pair for pairs in by_folder for pair in pairs]
    counts = [len(pairs) for pairs in by_folder]
    facts = [_FORMAT, scale, smallest, *(counts if len(counts) > 1 else []), *([] if most is None else [most])]
    stem = folder / cache_key(facts, [path for pair in sources for path in pair if path])

    def write(file: BinaryIO) -> list[Entry]:
        entries = [
            entry
            for number, pairs in enumerate(by_folder)
            for entry in islice(_write(file, pairs, number, scale, smallest, tell), most)
        ]
        if not entries:
            raise UsageError(f"none of the {len(sources)} images in {', '.join(map(str, hr_folders))} can be used")
        return entries

    return kept_or_made(stem, scale, write, tell)


def kept_or_made(
    stem: Path, scale: int, write: Callable[[BinaryIO], list[Entry]], tell: Callable[[str], None]
) -> ImageCache:
    """Open the cache whose files begin with `stem`; make it if it is missing or damaged.

    Args:
        stem: path of the files without their endings.
        scale: HR size over LR size.
        write: writes the pixels to a file, and returns their places.
        tell: receives messages for the user.

    Raises:
        FxsrError: the files can't be written.
    """
    index, data = stem.with_suffix(".json"), stem.with_suffix(".bin")
    if index.is_file() and data.is_file():
        try:
            entries = _read_index(index, data.stat().st_size, scale)
            return ImageCache(data, entries, scale)
        except (OSError, ValueError, RecursionError) as error:
            tell(f"{data}: this cache is damaged ({first_line(error)}); its pictures are read again")
    remove_unfinished(stem.parent)
    with atomic_path(data, durable=True) as temporary, temporary.open("wb") as file:
        entries = write(file)
    with atomic_path(index, durable=True) as temporary:
        temporary.write_text(json.dumps(msgspec.to_builtins(entries)))  # escapes names that are not valid UTF-8
    return ImageCache(data, entries, scale)


def _read_index(path: Path, size: int, scale: int) -> list[Entry]:
    """The places of a cache's images; raises ValueError if they are not those in a file of `size` bytes."""
    entries = msgspec.convert(json.loads(path.read_text(encoding="utf-8")), list[Entry])
    end = 0
    for entry in entries:
        if entry.hr != end or min(entry.height, entry.width) < scale or entry.height % scale or entry.width % scale:
            raise ValueError("the places of its images make no sense")
        pixels = entry.height * entry.width
        end += 3 * ((0 if entry.native else pixels) + pixels // scale**2)
    if not entries or end != size:
        raise ValueError(f"it has {size:,} bytes instead of {end:,}")
    return entries


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not exist.

    Raises:
        UsageError: names it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of images")


def find_images(folder: Path) -> list[Path]:
    """Find every image below a folder, sorted by name.

    Raises:
        UsageError: the folder does not exist or holds no images.
    """
    check_folder(folder)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READABLE and path.is_file())
    if not found:
        raise UsageError(f"{folder}: holds no images; {', '.join(sorted(READABLE))} are read")
    return found


def read_rgb(path: Path) -> Pixels:
    """Read an image as (H, W, 3) uint8 in sRGB: grey is repeated in all channels, alpha is left out.

    Raises:
        ImageError: it can't be read.
    """
    pixels = three_channels(read_image(path, srgb=True).pixels)
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype.kind == "f":
        return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels.astype(np.uint8, copy=False)


def find_pairs(hr_folders: Sequence[Path], lr_folders: Sequence[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Every image with the path of its reduction, or None if the reduction must be computed; see `open_cache`."""
    for number, folder in enumerate(hr_folders):
        for path in find_images(folder):
            yield path, lr_folders[number] / path.relative_to(folder) if lr_folders else None


def cache_key(facts: Sequence[object], paths: Sequence[Path]) -> str:
    """Name that changes with the facts and with the path, size or modification time of any file."""
    facts = list(facts)
    for path in paths:
        stat = path.stat() if path.is_file() else None
        facts.append([str(path.resolve()), stat and stat.st_size, stat and stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _write(
    file: BinaryIO,
    sources: Sequence[tuple[Path, Path | None]],
    number: int,
    scale: int,
    smallest: int,
    tell: Callable[[str], None],
) -> Iterator[Entry]:
    for path, lr_path in sources:
        try:
            hr, lr = load_pair(path, lr_path, scale, smallest, f"less than a crop of {smallest}x{smallest}")
        except ImageError as error:
            tell(f"left out: {error}")
            continue
        entry = Entry(path.name, hr.shape[0], hr.shape[1], file.tell(), number)
        file.write(hr.tobytes())
        file.write(lr.tobytes())
        yield entry


def load_pair(path: Path, lr_path: Path | None, scale: int, smallest: int, fault: str) -> tuple[Pixels, Pixels]:
    """Read an image, cut it to a multiple of `scale`, and read or compute its reduction.

    Raises:
        ImageError: an image can't be read, their sizes don't match, or a side is below `smallest`; the message for that
            is `fault`.
    """
    hr = read_rgb(path)
    height, width = (size // scale * scale for size in hr.shape[:2])
    if min(height, width) < smallest:
        raise ImageError(f"{path}: {hr.shape[1]}x{hr.shape[0]} is {fault}")
    hr = hr[:height, :width]
    if lr_path is None:
        return hr, reduce_uint8(hr, scale)
    lr = read_rgb(lr_path)
    if lr.shape != (height // scale, width // scale, 3):
        raise ImageError(f"{lr_path}: {lr.shape[1]}x{lr.shape[0]} is not {path.name} reduced by {scale}")
    return hr, lr
