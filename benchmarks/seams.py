"""Measures the error that tiling causes: compares an image upscaled in tiles with the same image upscaled whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fxsr.images.image import dtype_peak, read_image
from fxsr.metrics import psnr
from fxsr.runtime.upscale.upscaler import Upscaler, load


@dataclass(frozen=True)
class Seam:
    """The effect of one overlap on one image."""

    overlap: int
    """LR pixels."""
    psnr_db: float
    largest: float
    """Largest difference, in 8-bit levels."""
    work: float
    """Pixels that the network processes, relative to the image's pixels."""


def measure_seams(image: Path, model: str, tile: int, overlaps: Sequence[int], t: float) -> list[Seam]:
    """Compare tiles of side `tile` (LR pixels) with whole-image inference, for each overlap."""
    pixels = read_image(image).pixels
    lr = pixels.astype(np.float32) / np.float32(dtype_peak(pixels.dtype))
    with load(model, tile=0) as whole:
        reference = whole(lr, t)
        return [_measure(Upscaler(whole.session, tile, overlap), lr, t, reference) for overlap in overlaps]


def _measure(upscaler: Upscaler, lr: np.ndarray, t: float, reference: np.ndarray) -> Seam:
    rows, columns = (upscaler.axis_plan(length) for length in lr.shape[:2])
    run = len(rows.starts) * rows.size * len(columns.starts) * columns.size
    sr = upscaler(lr, t)
    largest = float(np.abs(sr - reference).max()) * 255
    return Seam(upscaler.overlap, psnr(sr, reference), largest, run / (lr.shape[0] * lr.shape[1]))
