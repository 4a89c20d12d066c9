"""Making lr worse than a clean reduction, for pictures from the wild: blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from fxsr.training.cache import Pixels
from fxsr.training.recipe import Degradation
from fxsr.training.resize import reduce, to_uint8


def degrade(hr: Pixels, scale: int, degradation: Degradation, rng: np.random.Generator) -> Pixels:
    """The reduction of an HR crop, degraded: blurred, reduced, noised, compressed, in this order.

    Args:
        hr: (H, W, 3).
        scale: divides H and W.
        degradation: the ranges from which each strength is drawn.
        rng: of this crop.

    Returns:
        (H / scale, W / scale, 3).
    """
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
    file = io.BytesIO()
    Image.fromarray(lr).save(file, "JPEG", quality=round(quality))
    return np.asarray(Image.open(file))
