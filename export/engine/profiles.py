"""The shapes that an engine is built for. Memory grows with the largest; speed is tuned for the middle one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fxsr.errors import UsageError, foreign_name
from fxsr.models.manifest import ModelFacts, Profile, Shape, ShapeRange
from fxsr.runtime.upscale.tiles import DEFAULT_TILE

Sizes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Height and width of the smallest, usual and largest tile, in LR pixels."""
Counts = tuple[int, int, int]

_MAX_SIDE, _MAX_BATCH = 16384, 1024
_FAR = 2
"""With a style map, an opt side below half of the max side costs up to ten times the memory (docs/engines.md)."""


@dataclass(frozen=True)
class Tiles:
    """Sizes and batches of the LR tiles that an engine takes."""

    sizes: Sizes = ((DEFAULT_TILE, DEFAULT_TILE),) * 3
    batch: Counts = (1, 1, 1)
    """The smallest, usual and largest batch."""

    @property
    def warning(self) -> str | None:
        """Why these shapes waste memory. None: they don't."""
        (_, opt, largest) = self.sizes
        if all(_FAR * usual >= side for usual, side in zip(opt, largest, strict=True)):
            return None
        return (
            f"the engine is tuned for tiles of {_text(opt)} but takes up to {_text(largest)}: it then holds the style "
            f"maps of all layers at once, which takes up to ten times the memory. Choose a middle size near the largest"
        )


def parse_tiles(tile: int | None, shapes: str | None, batch: str) -> Tiles:
    """Parse the command line's tile sizes and batches.

    Args:
        tile: value of `--tile`, such as 256. None: not given.
        shapes: value of `--shapes`, such as "64x64,256x256,512x512". None: not given.
        batch: value of `--batch`, such as "1" or "1,4,8".

    Raises:
        UsageError: a value has another form, is out of order or out of range.
    """
    batch = foreign_name(batch, 40)
    counts = [_number(part, f"--batch {batch}: write one number, or MIN,OPT,MAX") for part in batch.split(",")]
    if len(counts) not in (1, 3) or sorted(counts) != counts:
        raise UsageError(f"--batch {batch}: write one number, or MIN,OPT,MAX in ascending order")
    few, usual, many = counts * 3 if len(counts) == 1 else counts
    if tile is not None and shapes is not None:
        raise UsageError("--tile and --shapes exclude each other: give one size, or a range of sizes")
    if shapes is None:
        side = DEFAULT_TILE if tile is None else tile
        if not 1 <= side <= _MAX_SIDE:
            raise UsageError(f"--tile {side}: an engine needs a tile size of 1 to {_MAX_SIDE}")
        return Tiles(((side, side),) * 3, (few, usual, many))
    help_text = (
        f"--shapes {foreign_name(shapes, 40)}: write MIN,OPT,MAX as HEIGHTxWIDTH each, such as 64x64,256x256,512x512"
    )
    sizes = [re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", part.strip()) for part in shapes.split(",")]
    if len(sizes) != 3 or not all(sizes):
        raise UsageError(help_text)
    small, middle, large = ((int(size[1]), int(size[2])) for size in sizes if size)
    for axis in (0, 1):
        if not 1 <= small[axis] <= middle[axis] <= large[axis] <= _MAX_SIDE:
            raise UsageError(f"{help_text}; they must be 1 to {_MAX_SIDE} and ascend")
    return Tiles((small, middle, large), (few, usual, many))


def engine_profiles(facts: ModelFacts, tiles: Tiles) -> tuple[Profile, ...]:
    """One profile for style maps and one for a single style. A graph without a `t_map` input has only one profile.

    One profile that spans both would take a third more memory than two.
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
    if not re.fullmatch("[0-9]{1,9}", text.strip()) or not 1 <= int(text) <= _MAX_BATCH:
        raise UsageError(f"{otherwise}, from 1 to {_MAX_BATCH}")
    return int(text)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
