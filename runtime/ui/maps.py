"""The style maps that the page offers to make from a photo, by one click each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxsr.images.rows import Pixels
from fxsr.styles import maps as tmap
from fxsr.styles.texture import texture


@dataclass(frozen=True)
class AutomaticMap:
    """A way to make a style map from a photo."""

    description: str
    """One line for the user."""
    make: Callable[[Pixels], NDArray[np.float32]]
    """From (H, W, C) pixels to (H, W) in 0..1."""


AUTOMATIC: Mapping[str, AutomaticMap] = {
    "texture": AutomaticMap("Crisp on texture; edges, text and flat areas stay faithful.", texture),
    "to the right": AutomaticMap(
        "Faithful on the left, and crisp on the right.",
        lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1]),
    ),
    "downwards": AutomaticMap(
        "Faithful at the top, and crisp at the bottom.",
        lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1], 90),
    ),
    "outwards": AutomaticMap(
        "Faithful in the middle, and crisp in the corners.",
        lambda pixels: tmap.radial_gradient(pixels.shape[0], pixels.shape[1]),
    ),
}
"""By name, in the order in which the page lists them. The page shows whatever is here."""
