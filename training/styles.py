"""Drawing t for training crops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.training.recipe import Style

_CELLS = 4
"""A random map is a grid of up to so many random values a side, enlarged smoothly."""


def draw_style(
    style: Style, batch_rng: np.random.Generator, rng: np.random.Generator, side: int, maps: bool
) -> NDArray[np.float32]:
    """The style of one crop.

    Args:
        style: how to draw it.
        batch_rng: in the same state for all crops of a batch.
        rng: this crop's own.
        side: of the lr crop.
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
    """From a tilt to a few hills; stretched around the middle so that plains at 0 and 1 and steep slopes occur too."""
    rows, columns = rng.integers(1, _CELLS + 1, 2)
    grid = rng.random((rows + 1, columns + 1), np.float32)
    smooth = _stretch(rows, side) @ grid @ _stretch(columns, side).T
    contrast = np.float32(rng.uniform(1, 3))
    return np.clip((smooth - 0.5) * contrast + 0.5, 0, 1)


def _stretch(cells: int, side: int) -> NDArray[np.float32]:
    """(side, cells + 1): linear interpolation between cells + 1 values, eased so that no crease shows at them."""
    place = np.linspace(0, cells, side)
    whole = np.floor(place).clip(max=cells - 1)
    part = place - whole
    eased = whole + part**2 * (3 - 2 * part)
    hat: NDArray[np.float32] = np.maximum(0, 1 - np.abs(eased[:, None] - np.arange(cells + 1))).astype(np.float32)
    return hat
