"""Finds the place of a photo that is worth a first look."""

from __future__ import annotations

import numpy as np

from fxsr.images.image import grey_plane
from fxsr.images.rows import Pixels
from fxsr.runtime.ui.views import shrunk
from fxsr.styles.maps import feather

_SIDE = 320
"""Longer side in pixels of the picture that is looked at."""
_REACH = 0.06
"""Radius of the surroundings whose detail counts, as a share of that side."""


def find_detail(pixels: Pixels) -> tuple[float, float]:
    """The middle of the area with the strongest detail, as shares of width and height.

    Detail is the length of the gradients, limited so that a single hard edge does not win; the borders count less,
    since a photo's subject is seldom there.

    Args:
        pixels: (H, W, C), the whole photo.
    """
    small = shrunk(pixels, min(1.0, _SIDE / max(pixels.shape[:2])))
    grey = grey_plane(small) / np.float32(255)
    if min(grey.shape) < 3:
        return 0.5, 0.5
    down, across = np.gradient(grey)
    detail = feather(np.minimum(np.hypot(down, across), np.float32(0.12)), _REACH * max(grey.shape))
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in grey.shape)
    weight = (1 - 0.5 * x**4)[None] * (1 - 0.5 * y**4)[:, None]
    row, column = np.unravel_index(int(np.argmax(detail * weight)), detail.shape)
    return (int(column) + 0.5) / grey.shape[1], (int(row) + 0.5) / grey.shape[0]
