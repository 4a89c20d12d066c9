from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fxsr.images.image import read_image
from fxsr.metrics import psnr
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.open import open_session
from fxsr.runtime.upscale.tiles import DEFAULT_OVERLAP
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.support import SAMPLE, NearestSession

VISIBLE = 0.6
"""About half a level of 8 bits: below it tiling moves a pixel by hardly more than rounding does."""


@pytest.mark.parametrize("style", ["uniform", "map"])
def test_seams_are_invisible_at_the_default_overlap(style: str, figures: list[str]) -> None:
    lr = read_image(SAMPLE).pixels[:200, :280].astype(np.float32) / np.float32(255)
    t = 0.8 if style == "uniform" else np.random.default_rng(0).random(lr.shape[:2])
    with open_session(DEFAULT_MODEL, "cpu") as session:
        whole = Upscaler(session, tile=0)(lr, t)
        tiled = Upscaler(session, tile=96, overlap=DEFAULT_OVERLAP)(lr, t)
        butted = Upscaler(session, tile=96, overlap=0)(lr, t)
    figures.append(
        f"seams, {style} t: {psnr(tiled, whole):.1f} dB against the whole image at overlap {DEFAULT_OVERLAP}, "
        f"{psnr(butted, whole):.1f} dB without overlap"
    )
    largest = np.abs(tiled - whole).max() * 255
    assert largest < VISIBLE
    assert np.abs(butted - whole).max() * 255 > VISIBLE  # or this test would show nothing


def test_memory_does_not_grow_with_height() -> None:
    """Beside input and output, only one row of tiles is held."""

    def held(height: int) -> int:
        image = np.zeros((height, 64, 3), np.uint8)
        upscaler = Upscaler(NearestSession(), 32, 8)
        tracemalloc.start()
        sr = upscaler(image, 0.5)
        peak = tracemalloc.get_traced_memory()[1] - sr.nbytes
        tracemalloc.stop()
        return peak

    held(64)
    assert held(2048) < 1.2 * held(256)
