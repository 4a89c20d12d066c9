"""A style map that keeps faces and skin faithful."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.images.image import Pixels
from fxsr.styles.automatic.mtcnn import Boxes, find_faces
from fxsr.styles.automatic.view import look
from fxsr.styles.maps import Plane, feather, smooth_step

FAITHFUL = 0.3
"""t of faces and skin: features keep their shape, and skin still gets some grain."""
_LONGEST = 1024
"""Long side, in pixels, of the reduced photo in which faces are looked for."""
_REACH = 5.0
"""How far from a face, in sides of its box, skin of its colour is looked for."""


def faces(image: Pixels) -> Plane:
    """A map, (H, W) in 0..1 and at most as large as the image, that is `FAITHFUL` on faces and skin, and 1 elsewhere.

    Every face is an ellipse around what the detector finds, with a soft border. Skin is what has the colours of the
    middle of a face, within some faces' widths of it.

    Args:
        image: (H, W, C), alpha ignored; uint8, uint16 or float in 0..1.

    Raises:
        MissingExtraError: the extra `faces` is not installed.
    """
    rgb = look(image, _LONGEST)
    found = np.zeros(rgb.shape[:2], np.float32)
    for box in find_faces(rgb):
        distance, size = _distance(box, found.shape)
        found = np.maximum(found, 1 - smooth_step(distance, 1, 1.35))
        near = 1 - smooth_step(distance, _REACH * 0.8, _REACH * 1.6)
        found = np.maximum(found, feather(_skin(rgb, distance) * near, size / 12))
    return np.float32(1) - np.float32(1 - FAITHFUL) * found


def _distance(box: Boxes, shape: tuple[int, ...]) -> tuple[Plane, float]:
    """Distance of each pixel from a face's centre, 1 on the ellipse around head and chin; and the width of the box."""
    left, top, right, bottom = box[:4]
    width, height = max(right - left, 1.0), max(bottom - top, 1.0)
    x = (np.arange(shape[1]) + 0.5 - (left + right) / 2) / (0.62 * width)
    y = (np.arange(shape[0]) + 0.5 - (top + 0.47 * height)) / (0.72 * height)
    return np.hypot(x[None, :], y[:, None]).astype(np.float32), float(width)


def _skin(rgb: NDArray[np.uint8], distance: Plane) -> Plane:
    """How well each pixel has the colours of the middle of a face, 0..1.

    The colours are a normal distribution of chroma (Cb and Cr, BT.601) and, more loosely, of luma.
    """
    matrix = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)
    colours = rgb.astype(np.float32) @ matrix.T
    inner = colours[distance < 0.55]
    if len(inner) < 9:
        return np.zeros(distance.shape, np.float32)
    middle = np.median(inner, 0)
    near = inner[np.abs(inner[:, 0] - middle[0]) < 50]  # without eyes and open mouths
    middle = near.mean(0)
    spread = np.cov(near, rowvar=False) + np.diag([400.0, 9.0, 9.0])
    off = colours - middle
    square = np.einsum("...i,ij,...j->...", off, np.linalg.inv(spread).astype(np.float32), off)
    return 1 - smooth_step(np.asarray(square, np.float32), 5, 11)
