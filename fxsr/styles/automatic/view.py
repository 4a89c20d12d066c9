"""What detectors look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.images.image import Pixels, dtype_peak, resize_plane, three_channels


def look(image: Pixels, longest: int) -> NDArray[np.uint8]:
    """An image as (h, w, 3) uint8, reduced such that no side is longer than `longest` pixels.

    Args:
        image: (H, W, C), alpha ignored; uint8, uint16 or float in 0..1.
    """
    height, width = image.shape[:2]
    zoom = min(1.0, longest / max(height, width))
    size = max(1, round(height * zoom)), max(1, round(width * zoom))
    rgb = three_channels(image).astype(np.float32) * np.float32(255 / dtype_peak(image.dtype))
    planes = [resize_plane(rgb[..., channel], *size) for channel in range(3)]
    return (np.stack(planes, -1).clip(0, 255) + np.float32(0.5)).astype(np.uint8)
