"""Bicubic resizing as in MATLAB's `imresize`; see `fxsr.images.bicubic`.

It is separable, so resizing is a product with one matrix on each side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.images.bicubic import resampling


def reduce(pixels: NDArray[np.generic], scale: int) -> NDArray[np.float32]:
    """Reduce (H, W, C) by `scale`. Values are not rounded; they keep their range except for overshoot.

    Raises:
        ValueError: `scale` does not divide H and W.
    """
    height, width = _reduced(pixels.shape, scale)
    return _columns(_rows(pixels, height), width)


def reduce_uint8(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """`reduce`, rounded and clipped as in the usual MATLAB scripts (im2double, imresize, imwrite)."""
    return to_uint8(reduce(pixels, scale))


def bicubic_upscale(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Upscale (H, W, C) by `scale`, rounded and clipped: the baseline for every upscaler."""
    height, width = pixels.shape[0] * scale, pixels.shape[1] * scale
    return to_uint8(_columns(_rows(pixels, height), width))


def to_uint8(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round and clip values to 0..255."""
    rounded: NDArray[np.uint8] = np.clip(np.floor(pixels + np.float32(0.5)), 0, 255).astype(np.uint8)
    return rounded


def _reduced(shape: tuple[int, ...], scale: int) -> tuple[int, int]:
    if shape[0] % scale or shape[1] % scale:
        raise ValueError(f"{shape[1]}x{shape[0]} is not a multiple of {scale}")
    return shape[0] // scale, shape[1] // scale


def _rows(pixels: NDArray[np.generic], count: int) -> NDArray[np.float32]:
    return np.tensordot(resampling(pixels.shape[0], count), pixels.astype(np.float32), axes=(1, 0))


def _columns(pixels: NDArray[np.generic], count: int) -> NDArray[np.float32]:
    resampled = np.tensordot(pixels.astype(np.float32), resampling(pixels.shape[1], count), axes=(1, 1))
    return np.ascontiguousarray(resampled.transpose(0, 2, 1))
