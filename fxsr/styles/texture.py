"""Style maps from photos: high on texture, which the perceptual end of the dial makes crisp."""

from __future__ import annotations

import math

import numpy as np

from fxsr.images.image import Pixels, brightness
from fxsr.styles.maps import Plane, feather, smooth_step, spread

GRAIN_LIMIT = 0.025
"""Largest standard deviation that `estimate_grain` returns, for pixels in 0..1: a photo may be texture all over."""


def texture(image: Pixels, radius: float | None = None, grain: float | None = None) -> Plane:
    """A map, (H, W) in 0..1, that is high on texture and low on edges, text and flat areas.

    It is the product of five measures of each pixel's neighbourhood. Three concern the gradients of the fine detail:

    - their strength: weaker than grain means that the area is flat or out of focus;
    - their evenness: the squared mean length over the mean squared length. It is near pi/4 in texture (the value for
      normally distributed gradients), and less around single edges or strokes on paper;
    - their directions: the coherence of the structure tensor is near 1 along edges, and lower in texture.

    Two concern the brightness:

    - its mean distance from the middle between the darkest and the brightest pixel, relative to the largest distance:
      about 0.4 in texture, more for ink on paper or where two areas meet;
    - its standard deviation, which is larger in print than in texture.

    The thresholds below and the smallest radius were chosen by a photo of fur, synthetic textures, and rendered text of
    10 to 32 pixels.

    Args:
        image: (H, W, C), alpha ignored; uint8, uint16 or float in 0..1.
        radius: radius of the neighbourhood in pixels. None: 1/40 of the shorter side, but 12 to 32.
        grain: standard deviation of the image's grain, for pixels in 0..1. None: estimated.
    """
    grey = brightness(image)
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
        smooth_step(np.sqrt(energy), 1.5 * floor, 3 * floor)
        * smooth_step(evenness, 0.58, 0.74)
        * (1 - smooth_step(coherence, 0.6, 0.95))
        * (1 - smooth_step(extremeness, 0.42, 0.62))
        * (1 - smooth_step(deviation, 0.2, 0.32))
    )
    return feather(found, 1.5 * radius)


def estimate_grain(grey: Plane) -> float:
    """Standard deviation of the grain in an (H, W) image in 0..1, at most `GRAIN_LIMIT`.

    The mask of Immerkaer, "Fast noise variance estimation" (1996), ignores slopes and straight edges. Its response is
    averaged over small areas, of which a low percentile is taken, so that textured areas do not count.
    """
    if min(grey.shape) < 3:
        return 0.0
    second = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    second = second[:-2] - 2 * second[1:-1] + second[2:]
    areas = feather(np.abs(second), 12)
    return min(float(np.percentile(areas, 5)) * math.sqrt(math.pi / 2) / 6, GRAIN_LIMIT)


def _slope(plane: Plane, axis: int) -> Plane:
    """Central differences along an axis; 0 if it is one pixel long."""
    slope: Plane = np.gradient(plane, axis=axis) if plane.shape[axis] > 1 else np.zeros_like(plane)
    return slope
