"""Bicubic resizing as in MATLAB's `imresize`, the convention of super-resolution for training and measurements.

Keys' cubic with a = -0.5, widened by the ratio when the size shrinks (antialiasing), with normalised weights and
mirrored borders that repeat the edge pixel. It is separable, so resizing is a product with one matrix on each side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def resampling(size: int, count: int) -> NDArray[np.float32]:
    """(count, size): the weight of each of `size` input samples in each of `count` output samples. Read-only."""
    ratio = size / count
    stretch = max(ratio, 1.0)
    width = 4 * stretch
    centre = (np.arange(count) + 0.5) * ratio - 0.5
    tap = np.floor(centre - width / 2).astype(int)[:, None] + np.arange(int(np.ceil(width)) + 2)
    weight = _cubic((centre[:, None] - tap) / stretch)
    weight /= weight.sum(1, keepdims=True)
    mirrored = tap % (2 * size)
    mirrored = np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)
    matrix = np.zeros((count, size))
    np.add.at(matrix, (np.arange(count)[:, None], mirrored), weight)
    result = matrix.astype(np.float32)
    result.setflags(write=False)
    return result


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


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys (1981), equation 15, with a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
