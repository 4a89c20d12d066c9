"""What an EXR file says besides its pixels: the windows that they lie in, and the primaries of their colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.images.rows import Pixels, Rows, band_height
from fxsr.images.structure.exr import Window

_LONGEST = 1 << 20
"""Largest side of a display window; beyond it, a file of a few bytes would take all memory."""
_REC_709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
"""x and y of red, green, blue and white of sRGB, which EXR files have that don't say otherwise."""
_CLOSE = 2e-3
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""From XYZ to the responses in which Bradford's adaptation scales white (ICC.1:2022, annex E)."""


def framed(path: Path, pixels: Pixels, data: Window, display: Window, notes: tuple[str, ...]) -> Rows:
    """The display window of an image as rows, black and transparent where `pixels` don't reach.

    Args:
        pixels: (h, w, C), the data window.

    Raises:
        ImageError: the windows don't overlap, or the display window is absurdly large.
    """
    left, top, right, bottom = display
    width, height, channels = right - left + 1, bottom - top + 1, pixels.shape[2]
    if data == display:
        rows = Rows.of(pixels)
        return Rows(height, width, channels, rows.dtype, rows.bands, notes=notes)
    if max(width, height) > _LONGEST:
        raise ImageError(f"{path}: its display window is {width}x{height}; no side may exceed {_LONGEST}")
    across = max(left, data[0]), min(right, data[2]) + 1
    down = max(top, data[1]), min(bottom, data[3]) + 1
    if across[0] >= across[1] or down[0] >= down[1]:
        raise ImageError(f"{path}: its pixels lie outside its display window; nothing would be seen")
    band = band_height(width, channels, pixels.dtype)

    def bands() -> Iterator[Pixels]:
        for start in range(top, bottom + 1, band):
            stop = min(start + band, bottom + 1)
            rows = np.zeros((stop - start, width, channels), pixels.dtype)
            first, last = max(start, down[0]), min(stop, down[1])
            if first < last:
                part = pixels[first - data[1] : last - data[1], across[0] - data[0] : across[1] - data[0]]
                rows[first - start : last - start, across[0] - left : across[1] - left] = part
            yield rows

    return Rows(height, width, channels, pixels.dtype, bands(), notes=notes)


def frame_note(data: Window, display: Window) -> str | None:
    """What becomes of a data window that is not the display window."""
    if data == display:
        return None
    outside = data[0] < display[0] or data[1] < display[1] or data[2] > display[2] or data[3] > display[3]
    inside = data[0] > display[0] or data[1] > display[1] or data[2] < display[2] or data[3] < display[3]
    done = [*(["pixels outside of it are left out"] if outside else []), *(["the rest is black"] if inside else [])]
    windows = [f"{right - left + 1}x{bottom - top + 1} at {left},{top}" for left, top, right, bottom in (data, display)]
    return f"its data window ({windows[0]}) is not its display window ({windows[1]}): {' and '.join(done)}"


def srgb_matrix(chromaticities: tuple[float, ...] | None) -> NDArray[np.float32] | None:
    """(3, 3) from linear RGB of these primaries to that of sRGB, white to white; None if they are the same."""
    if chromaticities is None or np.allclose(chromaticities, _REC_709, atol=_CLOSE):
        return None
    own, target = (_to_xyz(values) for values in (chromaticities, _REC_709))
    whites = [_BRADFORD @ matrix.sum(1) for matrix in (own, target)]
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(whites[1] / whites[0]) @ _BRADFORD
    return np.asarray(np.linalg.inv(target) @ adapt @ own, np.float32)


def _to_xyz(chromaticities: tuple[float, ...]) -> NDArray[np.float64]:
    """(3, 3) from linear RGB to XYZ (SMPTE RP 177)."""
    points = np.array(chromaticities, np.float64).reshape(4, 2)
    columns = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    return np.asarray(columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3]), np.float64)
