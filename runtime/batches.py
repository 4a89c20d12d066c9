"""Giving a session tiles: in batches, in the shapes that it takes, and in smaller ones where memory is short."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fxsr.errors import OutOfMemoryError
from fxsr.runtime.session import Array, Session, SessionInfo
from fxsr.runtime.tiles import default_overlap, plan_axis

_LEAST_TILE = 64
"""Tiles are not halved below this side: what is left of them would be mostly overlap."""


class Place(NamedTuple):
    """Where a tile belongs."""

    layer: int
    """0 for colour, 1 for alpha."""
    row: int
    column: int


@dataclass(frozen=True)
class Tile:
    """A tile and the style that goes with it."""

    place: Place
    lr: Array
    """(3, h, w)."""
    t_map: Array
    """(1, h, w), or (1, 1, 1) where the style is the same all over."""


def upscale_tiles(
    session: Session, tiles: Iterable[Tile], note: Callable[[str], None]
) -> Iterator[tuple[Place, Array]]:
    """Each tile's place and its sr, (3, scale*h, scale*w) float32, in order.

    Neighbours of one kind go through together, as many as the session likes. Where memory is too short for a batch, it
    is given in halves, and single tiles in quarters.

    Args:
        session: what upscales.
        tiles: all of one size.
        note: hears of it, once, if memory is too short.

    Raises:
        OutOfMemoryError: there is too little memory for the smallest tile.
        FxsrError: the session failed.
    """
    batches = _batches(tiles, session.info.batch)
    waiting: deque[list[Tile]] = deque()

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
            if session.info.fixed:  # nothing smaller fits it
                raise
            if not noted:
                note("too little memory for tiles of this size or number: cut into smaller ones")
                noted = True
            for batch in list(waiting):  # what was under way is lost
                waiting.popleft()
                yield from _cropped(batch, _in_parts(session, *_stack(batch, session.info)), session.info.scale)


def _batches(tiles: Iterable[Tile], most: int) -> Iterator[list[Tile]]:
    batch: list[Tile] = []
    for tile in tiles:
        if batch and (len(batch) == most or tile.t_map.shape != batch[0].t_map.shape):
            yield batch
            batch = []
        batch.append(tile)
    if batch:
        yield batch


def _stack(batch: list[Tile], info: SessionInfo) -> tuple[Array, Array]:
    """A batch's lr and t_map in the session's type, mirrored outwards and repeated to the size that it must have."""
    lr, t_map = np.stack([tile.lr for tile in batch]), np.stack([tile.t_map for tile in batch])
    if info.fixed and info.tile:
        lr = _filled(lr, info.batch, info.tile)
        t_map = _filled(t_map, info.batch, (1, 1) if t_map.shape[2:] == (1, 1) else info.tile)
    return np.ascontiguousarray(lr, info.dtype), np.ascontiguousarray(t_map, info.dtype)


def _filled(values: Array, count: int, size: tuple[int, int]) -> Array:
    missing = [(0, wanted - there) for wanted, there in zip(size, values.shape[2:], strict=True)]
    large = np.pad(values, ((0, 0), (0, 0), *missing), "symmetric")
    return np.pad(large, ((0, count - len(large)), (0, 0), (0, 0), (0, 0)), "edge")


def _cropped(batch: list[Tile], sr: Array, scale: int) -> Iterator[tuple[Place, Array]]:
    for tile, one in zip(batch, sr, strict=False):
        height, width = tile.lr.shape[1:]
        yield tile.place, np.array(one[:, : height * scale, : width * scale], np.float32)


def _in_parts(session: Session, lr: Array, t_map: Array) -> Array:
    """A batch that was too much for the session, in halves; a single tile in overlapping quarters."""
    if len(lr) > 1:
        middle = len(lr) // 2
        halves = [_smaller(session, lr[part], t_map[part]) for part in (slice(middle), slice(middle, None))]
        return np.concatenate(halves)
    height, width = lr.shape[2:]
    side = (max(height, width) + 1) // 2 + default_overlap(min(height, width)) // 2
    if side < _LEAST_TILE or side >= max(height, width):
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
