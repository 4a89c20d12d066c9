"""Quality of an upscaler on native photos, which have no original to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fxsr.metrics import luma
from fxsr.training.cache import Pixels
from fxsr.training.resize import bicubic_upscale

WINDOW = 64
"""Side, in pixels, of the patches for spectra."""
_AROUND = 4
"""Distance, in frequencies, up to which a peak is compared with its surroundings."""
_LOBE = 1
"""Distance up to which frequencies belong to the main lobe of the window and are left out."""
_FULL_RANGE = 255 / 219
"""Factor from luma of 16 to 235 to levels of 255."""


@dataclass(frozen=True)
class NativeScores:
    """Means over the photos at one t."""

    t: float | None
    """None: bicubic upscaling, for comparison."""
    grid: float
    """Mean of the function `grid`, in levels of 255."""
    change: float | None
    """Mean absolute change from the previous t, in levels of 255; None for the first t and for bicubic."""


def measure_native(
    upscale: Callable[[Pixels, float], Pixels],
    photos: Sequence[Pixels],
    scale: int,
    styles: Sequence[float],
    advance: Callable[[], None] = lambda: None,
) -> tuple[NativeScores, ...]:
    """Upscale photos at every t and measure the results.

    Args:
        upscale: maps (H, W, 3) uint8 and t to (scale*H, scale*W, 3) uint8.
        photos: the inputs; each side at least 64 / scale.
        scale: factor of the upscaler.
        styles: values of t, ascending.
        advance: called after every photo.

    Returns:
        The scores of bicubic upscaling, then those of each t.
    """
    grids: list[list[float]] = []
    changes: list[list[float]] = []
    for photo in photos:
        pictures = [upscale(photo, t) for t in styles]
        grids.append([grid(each, scale) for each in (bicubic_upscale(photo, scale), *pictures)])
        changes.append([float(np.abs(b.astype(np.int16) - a).mean()) for a, b in pairwise(pictures)])
        advance()
    means = np.mean(grids, 0)
    steps: list[float | None] = [None, None, *np.mean(changes, 0).tolist()] if len(styles) > 1 else [None, None]
    return tuple(NativeScores(t, float(g), c) for t, g, c in zip((None, *styles), means, steps, strict=True))


def grid(picture: Pixels, scale: int) -> float:
    """Amplitude of the pattern that repeats with the pixels of the input, in levels of 255; near 0 for a photo.

    In windowed 64x64 patches of luma: the power at multiples of 1/scale cycles per pixel, horizontally and vertically,
    above the median of the surrounding frequencies, as the amplitude of one wave of that power. The result is the mean
    over the flatter half of the patches, where such a pattern is visible.

    Args:
        picture: (H, W, 3), H and W at least 64.
        scale: output pixels per input pixel.
    """
    patches = _patches(luma(picture) * _FULL_RANGE)
    flat = patches.std((1, 2))
    patches = patches[flat <= np.median(flat)]
    hann = np.hanning(WINDOW + 1)[:-1]
    taper = hann[:, None] * hann
    centred = patches - patches.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centred * taper)) ** 2
    squares = np.zeros(len(patches))
    for number in range(1, scale // 2 + 1):
        place = WINDOW * number // scale
        share = 1 if 2 * place == WINDOW else 2  # a wave has power at two frequencies, except at the highest
        for y, x in ((place, 0), (0, place)):
            squares += share**2 * np.maximum(power[:, y, x] - _around(power, y, x), 0)
    return float((np.sqrt(squares) / taper.sum()).mean())


def _patches(values: NDArray[np.float64]) -> NDArray[np.float64]:
    half = WINDOW // 2
    height, width = values.shape
    return np.stack(
        [
            values[y : y + WINDOW, x : x + WINDOW]
            for y in range(0, height - WINDOW + 1, half)
            for x in range(0, width - WINDOW + 1, half)
        ]
    ).astype(np.float64)


def _around(power: NDArray[np.float64], y: int, x: int) -> NDArray[np.float64]:
    """Median over the frequencies around one, without those of its own lobe; (patches,)."""
    offsets = range(-_AROUND, _AROUND + 1)
    near = [
        power[:, (y + dy) % WINDOW, (x + dx) % WINDOW]
        for dy in offsets
        for dx in offsets
        if max(abs(dy), abs(dx)) > _LOBE
    ]
    return np.asarray(np.median(np.stack(near), 0))
