"""Runs tiles through a session: in batches, padded to shapes that it takes, and cut smaller when memory runs out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fxsr.errors import OutOfMemoryError
from fxsr.runtime.session import Array, Session, SessionInfo
from fxsr.runtime.upscale.tiles import default_overlap, plan_axis

_LEAST_TILE = 64
"""Tiles are not halved below this side, in LR pixels: smaller ones would be mostly overlap."""


class TilePosition(NamedTuple):
    """Which tile of an image it is."""

    plane: int
    """0 for colour, 1 for alpha."""
    row: int
    column: int


class StyledTile(Protocol):
    """A tile and its style."""

    @property
    def lr(self) -> Array:
        """(3, h, w)."""
        ...

    @property
    def t_map(self) -> Array:
        """(1, h, w), or (1, 1, 1) for one style."""
        ...


T = TypeVar("T", bound=StyledTile)


@dataclass(frozen=True)
class Tile:
    """A tile of an image; see `StyledTile`."""

    position: TilePosition
    lr: Array
    t_map: Array


def upscale_tiles(
    session: Session, tiles: Iterable[T], note: Callable[[str], None], most: int | None = None
) -> Iterator[tuple[T, Array]]:
    """Upscale tiles. Yields each tile and its sr, (3, scale*h, scale*w) float32, in order.

    Consecutive tiles of one kind (a style map, or one style) share a batch. If memory is too short for a batch, it is
    run in halves, and a single tile in overlapping quarters.

    Args:
        session: runs the batches.
        tiles: all of one size, after padding to the smallest that the session takes.
        note: called at most once, with a line of text, if memory was too short.
        most: largest number of tiles in a batch; None: `session.info.batch`.

    Raises:
        OutOfMemoryError: there is too little memory for the smallest tile.
        FxsrError: the session failed.
    """
    batches = _batches(tiles, most or session.info.batch)
    waiting: deque[list[T]] = deque()

    def given() -> Iterator[tuple[Array, Array]]:
        for batch in batches:
            waiting.append(batch)
            yield _stack(batch, session.info)

    noted = False
    while True:
        try:
            for sr in session.stream(given()):
                batch = waiting.popleft()
                yield from _cropped(batch, sr, session.info.scale)
            return
        except OutOfMemoryError:
            if session.info.fixed or session.info.least[0] > 1:  # it takes nothing smaller
                raise
            if not noted:
                note("too little memory for tiles of this size or number: cut into smaller ones")
                noted = True
            for batch in list(waiting):  # the results of these are lost
                waiting.popleft()
                yield from _cropped(batch, _in_parts(session, *_stack(batch, session.info)), session.info.scale)


def _batches(tiles: Iterable[T], most: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for tile in tiles:
        if batch and (len(batch) == most or is_uniform(tile) != is_uniform(batch[0])):
            yield batch
            batch = []
        batch.append(tile)
    if batch:
        yield batch


def is_uniform(tile: StyledTile) -> bool:
    """Whether a tile has one style for all pixels."""
    return tile.t_map.shape[1:] == (1, 1)


def _stack(batch: Sequence[StyledTile], info: SessionInfo) -> tuple[Array, Array]:
    """A batch's lr and t_map in the session's type, padded by mirroring and by repeating the last tile."""
    lr = [_mirrored(tile.lr, info.filled(*tile.lr.shape[1:])) for tile in batch]
    t_map = [
        tile.t_map if is_uniform(tile) else _mirrored(tile.t_map, info.filled(*tile.lr.shape[1:])) for tile in batch
    ]
    missing = info.least[0] - len(batch)
    lr, t_map = lr + lr[-1:] * missing, t_map + t_map[-1:] * missing
    return np.stack(lr).astype(info.dtype, copy=False), np.stack(t_map).astype(info.dtype, copy=False)


def _before(wanted: int, given: int) -> int:
    """How many of the missing pixels of a side are added before its beginning."""
    return (wanted - given) // 2


def _mirrored(values: Array, size: tuple[int, int]) -> Array:
    sides = zip(size, values.shape[1:], strict=True)
    missing = [(before := _before(wanted, given), wanted - given - before) for wanted, given in sides]
    return np.pad(values, ((0, 0), *missing), "symmetric") if any(map(any, missing)) else values


def _cropped(batch: Sequence[T], sr: Array, scale: int) -> Iterator[tuple[T, Array]]:
    for tile, one in zip(batch, sr, strict=False):
        down, across = (
            slice(_before(padded // scale, side) * scale, (_before(padded // scale, side) + side) * scale)
            for padded, side in zip(one.shape[1:], tile.lr.shape[1:], strict=True)
        )
        yield tile, np.array(one[:, down, across], np.float32)


def _in_parts(session: Session, lr: Array, t_map: Array) -> Array:
    """Run a batch that was too large for memory in halves; a single tile in overlapping quarters."""
    if len(lr) > 1:
        middle = len(lr) // 2
        halves = [_smaller(session, lr[part], t_map[part]) for part in (slice(middle), slice(middle, None))]
        return np.concatenate(halves)
    height, width = lr.shape[2:]
    side = (max(height, width) + 1) // 2 + default_overlap(min(height, width)) // 2
    if side < max(_LEAST_TILE, *session.info.least) or side >= max(height, width):
        raise OutOfMemoryError(f"too little memory for a tile of {width}x{height}; close other programs")
    overlap, scale = default_overlap(side), session.info.scale
    rows, columns = plan_axis(height, side, overlap), plan_axis(width, side, overlap)
    out = np.zeros((1, 3, height * scale, width * scale), np.float32)
    uniform = t_map.shape[2:] == (1, 1)
    for row, down in enumerate(rows.weights(scale)):
        for column, across in enumerate(columns.weights(scale)):
            window: Any = (..., rows.window(row), columns.window(column))
            sr = _smaller(session, lr[window], t_map if uniform else t_map[window])
            top, left = rows.starts[row] * scale, columns.starts[column] * scale
            out[..., top : top + len(down), left : left + len(across)] += sr * (down[:, None] * across)
    return out


def _smaller(session: Session, lr: Array, t_map: Array) -> Array:
    lr, t_map = np.ascontiguousarray(lr), np.ascontiguousarray(t_map)
    try:
        return session.run(lr, t_map)
    except OutOfMemoryError:
        return _in_parts(session, lr, t_map)
