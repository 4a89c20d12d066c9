"""Draws the effect of the style: a crop of an image, magnified, then upscaled at several t."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fxsr.errors import UsageError
from fxsr.images.image import Picture, read_image, repeat_pixels, write_image
from fxsr.runtime.upscale.upscaler import load

_GAP = 12
"""White pixels between panels."""


def draw_dial(image: Path, out: Path, crop: tuple[int, int, int, int], styles: Sequence[float], model: str) -> None:
    """Write a row of panels: the magnified input, then the output at each t.

    Args:
        image: an 8-bit RGB image.
        out: the image file to write.
        crop: left, top, width and height in input pixels. The whole image is upscaled, then cropped.
        styles: values of t, 0..1.
        model: a model file, or the name of a bundled model.

    Raises:
        UsageError: the crop reaches outside, or the image is not 8-bit RGB.
    """
    pixels = read_image(image).pixels
    left, top, width, height = crop
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        raise UsageError(f"{image}: this command takes 8-bit RGB images only")
    if min(crop) < 0 or left + width > pixels.shape[1] or top + height > pixels.shape[0] or not width * height:
        raise UsageError(f"crop {crop} is not inside the image of {pixels.shape[1]}x{pixels.shape[0]}")
    with load(model) as upscaler:
        scale = upscaler.scale
        sr = [upscaler(pixels, t) for t in styles]
    rows, columns = slice(top * scale, (top + height) * scale), slice(left * scale, (left + width) * scale)
    panels = [repeat_pixels(pixels, scale), *sr]
    gap = np.full((height * scale, _GAP, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel[rows, columns], gap)][:-1]
    write_image(out, Picture(np.concatenate(row, 1)))
