"""Sampling of t for training crops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.training.recipe_stage import StyleSampling

_CELLS = 4
"""Largest number of cells per side of the random grid from which a map is interpolated."""


def draw_style(
    style: StyleSampling, batch_rng: np.random.Generator, rng: np.random.Generator, side: int, maps: bool
) -> NDArray[np.float32]:
    """The style of one crop.

    Args:
        style: how to sample it.
        batch_rng: random generator with the same state for all crops of a batch.
        rng: random generator of this crop.
        side: side of the lr crop, in pixels.
        maps: whether this batch has maps.

    Returns:
        In 0..1: (1, side, side) with maps, else (1, 1, 1).
    """
    if maps and rng.random() >= style.uniform:
        return _smooth_map(rng, side)[None]
    source = batch_rng if style.per == "batch" else rng
    t = source.random()
    if source.random() < style.ends:
        t = round(t)
    return np.full((1, side, side) if maps else (1, 1, 1), t, np.float32)


def _smooth_map(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A smooth random map, (side, side). Its contrast is raised at random so that flat areas at 0 and 1 occur too."""
    rows, columns = rng.integers(1, _CELLS + 1, 2)
    grid = rng.random((rows + 1, columns + 1), np.float32)
    smooth = _stretch(rows, side) @ grid @ _stretch(columns, side).T
    contrast = np.float32(rng.uniform(1, 3))
    return np.clip((smooth - 0.5) * contrast + 0.5, 0, 1)


def _stretch(cells: int, side: int) -> NDArray[np.float32]:
    """(side, cells + 1): weights of a smoothstep interpolation between cells + 1 values."""
    place = np.linspace(0, cells, side)
    whole = np.floor(place).clip(max=cells - 1)
    part = place - whole
    eased = whole + part**2 * (3 - 2 * part)
    hat: NDArray[np.float32] = np.maximum(0, 1 - np.abs(eased[:, None] - np.arange(cells + 1))).astype(np.float32)
    return hat
