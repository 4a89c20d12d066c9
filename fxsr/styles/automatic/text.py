"""A style map that keeps text and line art faithful."""

from __future__ import annotations

import numpy as np

from fxsr.images.image import Pixels, brightness, resize_plane
from fxsr.styles.automatic.detector import open_network
from fxsr.styles.automatic.view import look
from fxsr.styles.maps import Plane, feather, smooth_step, spread

PACKAGE = "rapidocr"
EXTRA = "text"
_LONGEST = 1280
"""Long side, in pixels, of the reduced photo in which text is looked for."""
_STRIDE = 32
"""The network takes sides that are multiples of this."""
_REACH, _TURNS = 12, 2.5
"""Text shows this many turns of brightness across neighbourhoods of this radius. Seen: 3 and more in text; below 2 in
nearly all of the flowers, cups and dunes that the network took for text."""
_SURE = 0.3
"""Smallest probability of text, as RapidOCR itself uses it."""


def text(image: Pixels) -> Plane:
    """A map, (H, W) in 0..1 and at most as large as the image, that is 0 on text and line art, and 1 elsewhere.

    Text is what the detection network of PP-OCR finds, in any script; line art what `strokes` finds.

    Args:
        image: (H, W, C), alpha ignored; uint8, uint16 or float in 0..1.

    Raises:
        MissingExtraError: the extra `text` is not installed.
    """
    lines = find_text(image)
    drawn = strokes(image)
    height, width = drawn.shape
    return 1 - np.maximum(resize_plane(lines, height, width), drawn)


def find_text(image: Pixels) -> Plane:
    """1 on lines of text and a little around them, 0 elsewhere, with soft borders; (h, w), reduced.

    The network (Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", 2020) marks the core of
    each line, which is narrower than the line. Thick cores grow more than thin ones. In photos without text it
    sometimes marks smooth shapes; what shows no strokes is left out.
    """
    network = open_network(PACKAGE, "models/ch_PP-OCRv4_det*.onnx", EXTRA)
    rgb = look(image, _LONGEST)
    height, width = rgb.shape[:2]
    inner = [resize_plane(rgb[..., each].astype(np.float32), *map(_multiple, (height, width))) for each in (2, 1, 0)]
    (found,) = network(np.stack(inner)[None] / np.float32(127.5) - 1)
    core = (resize_plane(found[0, 0], height, width) >= _SURE).astype(np.float32)
    many = (_turns(brightness(rgb), _REACH) >= _TURNS).astype(np.float32)
    core *= spread(core * (feather(many, _REACH) > 0.5), _REACH)
    grown = core
    for radius in (2, 4, 8, 16, 32, 64):
        thick = 1 - spread(1 - core, radius)
        if not thick.any():
            break
        grown = np.maximum(grown, spread(thick, radius + round(0.9 * radius) + 1))
    return feather(np.maximum(grown, spread(core, 2)), 3)


def strokes(image: Pixels) -> Plane:
    """1 on ink or print on a plain ground, 0 elsewhere, (H, W).

    There the brightness has two values and little in between: its mean distance from the middle between the darkest and
    the brightest pixel around is close to the largest distance (about 0.4 of it in texture), and its standard deviation
    is large. An edge between two areas is like that as well, but on one side only: both the dark and the bright must
    come again and again within the neighbourhood.
    """
    grey = brightness(image)
    radius = min(max(min(grey.shape) / 60, 6), 24)
    bright, dark = _limits(grey, radius)
    contrast = bright - dark
    apart = feather(np.abs(2 * grey - bright - dark) / np.maximum(contrast, np.float32(0.02)), radius)
    found = (
        smooth_step(apart, 0.66, 0.8)
        * smooth_step(feather(contrast, radius), 0.3, 0.5)
        * smooth_step(_turns(grey, radius), 2.2, 3.4)  # an edge alone changes once over the neighbourhood
    )
    return feather(found, radius)


def _limits(grey: Plane, radius: float) -> tuple[Plane, Plane]:
    """The brightest and the darkest pixel around each pixel."""
    reach = round(radius)
    return spread(grey, reach), 1 - spread(1 - grey, reach)


def _turns(grey: Plane, radius: float) -> Plane:
    """How often the brightness goes from one limit of each neighbourhood to the other, on a line across it."""
    bright, dark = _limits(grey, radius)
    across, down = np.abs(np.diff(grey, axis=1, append=grey[:, -1:])), np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    mean = feather(np.maximum(across, down), radius)
    return np.asarray(mean * np.float32(2 * radius) / np.maximum(bright - dark, np.float32(0.1)), np.float32)


def _multiple(side: int) -> int:
    return max(_STRIDE, round(side / _STRIDE) * _STRIDE)
