"""The bicubic kernel of super-resolution: as in MATLAB's `imresize`, the convention for training and measurements.

Keys' cubic with a = -0.5, widened by the ratio when the size shrinks (antialiasing), with normalised weights and
mirrored borders that repeat the edge pixel.
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


def reducing_kernel(scale: int) -> NDArray[np.float32]:
    """(4 * scale,): the weights of the samples n * scale - 1.5 * scale and following in the reduced sample n.

    Args:
        scale: an even number.
    """
    return resampling(8 * scale, 8)[4, 5 * scale // 2 :][: 4 * scale]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys (1981), equation 15, with a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
