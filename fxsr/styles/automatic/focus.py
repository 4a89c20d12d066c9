"""A style map that leaves what is out of focus soft."""

from __future__ import annotations

import math

import numpy as np

from fxsr.images.image import Pixels, brightness
from fxsr.styles.maps import Plane, feather, smooth_step, spread
from fxsr.styles.texture import estimate_grain

_FINE, _COARSE = 1.0, 8.0
"""Radii of the two blurs whose gradients are compared, in pixels."""
_SOFT, _SHARP = 2.2, 4.2
"""The ratio that counts as out of focus, and the one that counts as in focus. The median is 4 to 7 in sharp photos,
below 2.8 after a blur of radius 4, and below 1.9 after one of radius 8."""


def focus(image: Pixels) -> Plane:
    """A map, (H, W) in 0..1, that is 1 on what is in focus and 0 on what is not.

    A sharp edge loses most of its slope when it is blurred; an edge that is blurred already keeps it. So the measure is
    the ratio of the gradients' energies after a small and after a larger blur (the idea of Zhuo and Sim, "Defocus map
    estimation from a single image", 2011), where the strongest edges of each neighbourhood count most. Where the photo
    is plain, nothing can be measured, and the map takes the value of what is around, in neighbourhoods that widen until
    there is enough.

    Args:
        image: (H, W, C), alpha ignored; uint8, uint16 or float in 0..1.
    """
    grey = brightness(image)
    grain = max(estimate_grain(grey), 0.004)
    fine, coarse = (_energy(feather(grey, blur)) for blur in (_FINE, _COARSE))
    # white noise of deviation 1 leaves 1 / (4 pi sigma^4) in this energy; sigma^2 of the small blur is 1.2
    fine = (fine - np.float32(grain**2 / (4 * math.pi * 1.2**2))).clip(0)
    radius = min(max(min(grey.shape) / 30, 8), 32)
    near_fine, near_coarse = feather(fine, radius), feather(coarse, radius)
    ratio = feather(fine * fine, radius) / np.maximum(feather(coarse * fine, radius), np.float32(1e-12))
    sharp = smooth_step(np.asarray(ratio, np.float32), _SOFT, _SHARP)
    # there is something to measure: detail above the grain, or slopes that are slow but not flat
    trust = np.maximum(_root_step(near_fine, 1.5 * grain, 4 * grain), _root_step(near_coarse, 0.2 * grain, 0.6 * grain))
    whole = _spread_over_plain(sharp, trust, 2 * radius)
    reach = round(radius)
    whole = 1 - spread(1 - spread(whole, reach), reach)  # closes gaps: a subject has plain parts and soft shadows
    return feather(whole, 2 * radius)


def _energy(plane: Plane) -> Plane:
    along = [np.gradient(plane, axis=axis) if plane.shape[axis] > 1 else np.zeros_like(plane) for axis in (0, 1)]
    return np.asarray(along[0] ** 2 + along[1] ** 2, np.float32)


def _root_step(energy: Plane, low: float, high: float) -> Plane:
    return smooth_step(np.asarray(np.sqrt(energy), np.float32), low, high)


def _spread_over_plain(values: Plane, trust: Plane, radius: float) -> Plane:
    """Values where they can be trusted (1), and means of trusted ones around where they can't (0)."""
    result, left = values * trust, 1 - trust
    reach = radius
    while reach < 2 * max(values.shape):
        weight = feather(trust, reach)
        known = smooth_step(weight, 0.02, 0.2)
        around = feather(values * trust, reach) / np.maximum(weight, np.float32(1e-4))
        result = result + left * known * around
        left = left * (1 - known)
        reach *= 2
    return np.asarray(result, np.float32).clip(0, 1)
