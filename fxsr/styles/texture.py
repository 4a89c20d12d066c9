"""Style maps from photos: where there is texture that the perceptual end of the dial makes crisp."""

from __future__ import annotations

import math

import numpy as np

from fxsr.images.image import Pixels, dtype_peak, grey_plane
from fxsr.styles.maps import Plane, feather, spread

GRAIN_LIMIT = 0.025
"""Largest standard deviation, of 0..1, that is taken for grain if none is given: a picture may be all texture."""


def texture(image: Pixels, radius: float | None = None, grain: float | None = None) -> Plane:
    """High where there is texture, low on edges, text and flat areas.

    Five marks of texture around each pixel are multiplied, three of them of the gradients of the fine detail:

    - they are stronger than grain makes them, else the area is flat or out of focus;
    - they are spread evenly: the square of their mean length over the mean of its square. In texture it is near pi/4
      (of normally distributed gradients); around a lone edge or strokes on paper, with little in between, it is less;
    - they point in several directions: the coherence of the structure tensor is not near 1, as it is along edges;
    - brightness keeps away from its extremes: the mean distance from the middle between the darkest and the brightest
      pixel, over the largest, is near 0.4 in texture, more with ink on paper or two areas that meet;
    - brightness does not vary as much as it does in print.

    The bounds below and the least radius were read off a photo of fur, synthetic textures, and rendered text of 10 to
    32 pixels.

    Args:
        image: (H, W, C), alpha ignored; uint8, uint16 or float in 0..1.
        radius: of the surroundings in pixels. None: 1/40 of the shorter side, but 12 to 32.
        grain: standard deviation of the image's grain, of 0..1. None: estimated.
    """
    grey: Plane = (grey_plane(image) / np.float32(dtype_peak(image.dtype))).clip(0, 1)
    if radius is None:
        radius = min(max(min(grey.shape) / 40, 12), 32)

    def around(plane: Plane) -> Plane:
        return feather(plane, radius)

    smooth = feather(grey, 1)
    detail = smooth - feather(smooth, radius / 2)
    dx, dy = _slope(detail, 1), _slope(detail, 0)
    xx, yy, xy = around(dx**2), around(dy**2), around(dx * dy)
    energy = np.maximum(xx + yy, np.float32(1e-12))
    evenness = around(np.hypot(dx, dy)) ** 2 / energy
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / energy

    reach = round(radius * 2 / 3)
    bright, dark = spread(smooth, reach), 1 - spread(1 - smooth, reach)
    extremeness = around(np.abs(2 * smooth - bright - dark) / np.maximum(bright - dark, np.float32(1e-6)))
    deviation = np.sqrt((around(grey**2) - around(grey) ** 2).clip(0))

    # what white noise of deviation 1 leaves in gradients is 1 / (2 sqrt(pi) sigma^2); sigma^2 of the first blur is 1.2
    floor = max(estimate_grain(grey) if grain is None else grain, 0.006) / (2 * math.sqrt(math.pi) * 1.2)
    found = (
        _step(np.sqrt(energy), 1.5 * floor, 3 * floor)
        * _step(evenness, 0.58, 0.74)
        * (1 - _step(coherence, 0.6, 0.95))
        * (1 - _step(extremeness, 0.42, 0.62))
        * (1 - _step(deviation, 0.2, 0.32))
    )
    return feather(found, 1.5 * radius)


def estimate_grain(grey: Plane) -> float:
    """Standard deviation of the grain, at most `GRAIN_LIMIT`.

    As in Immerkaer, "Fast noise variance estimation" (1996): a mask blind to slopes and straight edges. Its mean is
    taken over small areas, and of these a low percentile, so that texture elsewhere does not count.
    """
    if min(grey.shape) < 3:
        return 0.0
    second = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    second = second[:-2] - 2 * second[1:-1] + second[2:]
    areas = feather(np.abs(second), 12)
    return min(float(np.percentile(areas, 5)) * math.sqrt(math.pi / 2) / 6, GRAIN_LIMIT)


def _slope(plane: Plane, axis: int) -> Plane:
    """Central differences; one pixel has none."""
    slope: Plane = np.gradient(plane, axis=axis) if plane.shape[axis] > 1 else np.zeros_like(plane)
    return slope


def _step(plane: Plane, low: float, high: float) -> Plane:
    """0 up to `low`, 1 from `high` on, smooth in between."""
    x: Plane = ((plane - low) / (high - low)).clip(0, 1)
    return x * x * (3 - 2 * x)
