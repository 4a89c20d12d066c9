"""Shapes that an engine is built for. Memory grows with the largest; speed is tuned for the middle one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fxsr.errors import UsageError
from fxsr.models.manifest import ModelFacts, Profile, Shape, ShapeRange

Sizes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Height and width, smallest, usual and largest."""
Counts = tuple[int, int, int]

DEFAULT_TILE = 256
_FAR = 2
"""With a style map, an opt side below half of the max side costs up to ten times the memory (docs/engines.md)."""


@dataclass(frozen=True)
class Tiles:
    """What an engine will be given: sizes of LR tiles and batches of them."""

    sizes: Sizes = ((DEFAULT_TILE, DEFAULT_TILE),) * 3
    batch: Counts = (1, 1, 1)

    @property
    def warning(self) -> str | None:
        """Why these cost more memory than they need to; None if they don't."""
        (_, opt, largest) = self.sizes
        if all(_FAR * usual >= side for usual, side in zip(opt, largest, strict=True)):
            return None
        return (
            f"tiles are tuned for {_text(opt)} but may be as large as {_text(largest)}: an engine then holds the style "
            f"maps of all layers at once, up to ten times the memory. Choose a middle size near the largest"
        )


def parse_tiles(tile: int | None, shapes: str | None, batch: str) -> Tiles:
    """From the command line's `--tile 256`, or `--shapes 64x64,256x256,512x512`, and `--batch 1` or `--batch 1,4,8`.

    Raises:
        UsageError: not of that form, out of order or out of range.
    """
    counts = [_number(part, f"--batch {batch}: write one number, or MIN,OPT,MAX") for part in batch.split(",")]
    if len(counts) not in (1, 3) or sorted(counts) != counts:
        raise UsageError(f"--batch {batch}: write one number, or MIN,OPT,MAX in ascending order")
    few, usual, many = counts * 3 if len(counts) == 1 else counts
    if tile is not None and shapes is not None:
        raise UsageError("--tile and --shapes exclude each other: one size, or a range of them")
    if shapes is None:
        side = DEFAULT_TILE if tile is None else tile
        if side < 1:
            raise UsageError(f"--tile {side}: an engine needs a tile size, 1 or more")
        return Tiles(((side, side),) * 3, (few, usual, many))
    help_text = f"--shapes {shapes}: write MIN,OPT,MAX as HEIGHTxWIDTH each, such as 64x64,256x256,512x512"
    sizes = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in shapes.split(",")]
    if len(sizes) != 3 or not all(sizes):
        raise UsageError(help_text)
    small, middle, large = ((int(size[1]), int(size[2])) for size in sizes if size)
    for axis in (0, 1):
        if not 1 <= small[axis] <= middle[axis] <= large[axis]:
            raise UsageError(f"{help_text}; they must ascend, from 1 on")
    return Tiles((small, middle, large), (few, usual, many))


def engine_profiles(facts: ModelFacts, tiles: Tiles) -> tuple[Profile, ...]:
    """A profile for style maps and one for a single style; one only where the graph has no `t_map` of its own.

    Two profiles rather than one that spans both: that would be a third larger and no leaner.
    """
    image, *style = facts.inputs
    images = _range(image.shape, image.layout, tiles, tiles.sizes)
    if not style:
        return (Profile("image", {image.name: images}),)
    (t_map,) = style
    one: Sizes = ((1, 1),) * 3
    return (
        Profile("map", {image.name: images, t_map.name: _range(t_map.shape, t_map.layout, tiles, tiles.sizes)}),
        Profile("uniform", {image.name: images, t_map.name: _range(t_map.shape, t_map.layout, tiles, one)}),
    )


def _range(shape: Sequence[int | str], layout: str, tiles: Tiles, sizes: Sizes) -> ShapeRange:
    def at(index: int) -> Shape:
        known = {"N": tiles.batch[index], "H": sizes[index][0], "W": sizes[index][1]}
        return tuple(known.get(axis) or int(size) for axis, size in zip(layout, shape, strict=True))

    return ShapeRange(at(0), at(1), at(2))


def _number(text: str, otherwise: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(otherwise)
    return int(text)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
