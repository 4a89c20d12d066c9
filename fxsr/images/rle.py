"""The run-length coding of BMP files, BI_RLE8 and BI_RLE4, as Microsoft's "Bitmap Compression" describes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_END_OF_LINE, _END, _MOVE = 0, 1, 2


def decode_rle(data: bytes, width: int, height: int, depth: int) -> tuple[NDArray[np.uint8], int, bool]:
    """Decode runs of indices.

    Args:
        depth: bits of an index, 4 or 8.

    Returns:
        (height, width) indices in the order of the file, 0 where the data skip a pixel; how many are skipped; and
        whether the data end with their end marker or hold all rows.
    """
    indices = np.zeros((height, width), np.uint8)
    x = y = at = defined = 0
    while y < height and at + 1 < len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = np.full(count, value, np.uint8) if depth == 8 else _nibbles(bytes([value]) * ((count + 1) // 2))
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
            continue
        elif value == _END:
            return indices, width * height - defined, True
        elif value == _MOVE:
            if at + 1 >= len(data):
                break
            x, y, at = x + data[at], y + data[at + 1], at + 2
            continue
        else:
            count = value
            size = count if depth == 8 else (count + 1) // 2
            stored = data[at : at + size]
            if len(stored) < size:
                break
            run = np.frombuffer(stored, np.uint8) if depth == 8 else _nibbles(stored)
            at += size + size % 2
        length = max(0, min(count, width - x))
        indices[y, x : x + length] = run[:length]
        defined += length
        x += count
    return indices, width * height - defined, y >= height or (y == height - 1 and x >= width)


def _nibbles(data: bytes) -> NDArray[np.uint8]:
    stored = np.frombuffer(data, np.uint8)
    return np.stack([stored >> 4, stored & 15], 1).ravel()
