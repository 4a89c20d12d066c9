"""Degradation of inputs for photos from the wild: blur, resizing, noise, JPEG and WebP.

One round, or several as in Real-ESRGAN (Wang et al. 2021, section 3). Every strength is drawn from a range that the
recipe gives.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fxsr.training.cache import Pixels
from fxsr.training.recipe_data import Degradation, Round
from fxsr.training.resize import reduce, to_uint8

_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
"""Filters for resizing, one of which is drawn each time; each averages over the pixels that it covers."""
_LEAST_SIDE = 8
"""Smallest side after resizing, in pixels."""


def degrade(hr: Pixels, scale: int, degradation: Degradation, rng: np.random.Generator) -> Pixels:
    """Reduce and degrade a picture: blur, reduction, noise and compression in this order, or in rounds.

    Args:
        hr: (H, W, 3).
        scale: factor of the reduction, which divides H and W; 1: the picture keeps its size.
        degradation: ranges from which each strength is drawn.
        rng: random generator of this picture.

    Returns:
        (H / scale, W / scale, 3).
    """
    if degradation.rounds:
        if rng.random() >= degradation.share:
            return to_uint8(reduce(hr, scale))
        return _by_rounds(hr, (hr.shape[0] // scale, hr.shape[1] // scale), degradation.rounds, rng)
    hit = rng.random() < degradation.share
    blur, noise, quality = (rng.uniform(*bounds) for bounds in (degradation.blur, degradation.noise, degradation.jpeg))
    grain = rng.standard_normal((hr.shape[0] // scale, hr.shape[1] // scale, 3))
    if not hit:
        return to_uint8(reduce(hr, scale))
    if blur:
        hr = np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(blur)))
    lr = to_uint8((reduce(hr, scale) + noise * grain).astype(np.float32))
    if quality >= 100:
        return lr
    return _compress(lr, quality, "JPEG")


def _by_rounds(pixels: Pixels, size: tuple[int, int], rounds: tuple[Round, ...], rng: np.random.Generator) -> Pixels:
    """Apply the rounds in order; the last one resizes to `size` (height, width)."""
    for number, each in enumerate(rounds, 1):
        pixels = blur(pixels, each, rng)
        factor = rng.uniform(*each.resize)
        wanted = size if number == len(rounds) else (round(pixels.shape[0] * factor), round(pixels.shape[1] * factor))
        method = _FILTERS[int(rng.integers(len(_FILTERS)))]
        height, width = (max(side, _LEAST_SIDE) for side in wanted) if number < len(rounds) else wanted
        if (height, width) != pixels.shape[:2]:
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), method))
        pixels = _add_noise(pixels, each, rng)
        hit, webp, quality = rng.random() < each.compressed, rng.random() < each.webp, rng.uniform(*each.quality)
        if hit:
            pixels = _compress(pixels, quality, "WEBP" if webp else "JPEG")
    return pixels


def blur(pixels: Pixels, settings: Round, rng: np.random.Generator) -> Pixels:
    """Blur with an anisotropic Gaussian at a random angle; borders are mirrored.

    The transfer function is applied to the spectrum of the picture, so no kernel has to be truncated.
    """
    hit, angle = rng.random() < settings.blurred, rng.uniform(0, np.pi)
    long, ratio = rng.uniform(*settings.blur), rng.uniform(1, settings.stretch)
    if not (hit and long):
        return pixels
    margin = int(np.ceil(3 * long)) + 1
    margins = [(min(margin, side - 1),) * 2 for side in pixels.shape[:2]]
    padded = np.pad(pixels.astype(np.float32), [*margins, (0, 0)], mode="symmetric")
    down = np.fft.fftfreq(padded.shape[0])[:, None]
    across = np.fft.rfftfreq(padded.shape[1])
    along = down * np.sin(angle) + across * np.cos(angle)
    athwart = down * np.cos(angle) - across * np.sin(angle)
    transfer = np.exp(-2 * np.pi**2 * ((along * long) ** 2 + (athwart * long / ratio) ** 2))
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * transfer[..., None]
    found = np.fft.irfft2(spectrum, padded.shape[:2], axes=(0, 1))
    (top, _), (left, _) = margins
    return to_uint8(found[top : top + pixels.shape[0], left : left + pixels.shape[1]].astype(np.float32))


def _add_noise(pixels: Pixels, settings: Round, rng: np.random.Generator) -> Pixels:
    """Add noise that is constant or grows with the square root of brightness, in colour or grey."""
    strength, grey, shot = rng.uniform(*settings.noise), rng.random() < settings.grey, rng.random() < settings.shot
    channels = 1 if grey else 3
    grain: NDArray[np.float32] = rng.standard_normal((*pixels.shape[:2], channels), np.float32)
    if not strength:
        return pixels
    level = np.sqrt(pixels.astype(np.float32) / 255 * 2) if shot else np.float32(1)
    return to_uint8((pixels + np.float32(strength) * level * grain).astype(np.float32))


def _compress(pixels: Pixels, quality: float, kind: str) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=round(quality))
    return np.asarray(Image.open(file).convert("RGB"))
