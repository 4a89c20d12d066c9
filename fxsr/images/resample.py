"""Resizes images with libvips."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyvips


def resampled(image: pyvips.Image, width: int, height: int, *, linear: bool = False) -> pyvips.Image:
    """Resize an image to exactly this size. Pixels are areas, so the image's borders stay in place.

    Uses Lanczos where it shrinks, with averaging, and bicubic where it grows; with `linear`, bilinear in both cases.
    Alpha is always bilinear: the others overshoot at hard edges, and would leave a rim of half-visible pixels.
    """
    if (image.width, image.height) == (width, height):
        return image
    if image.bands in (2, 4) and not linear:
        return _with_alpha(image, width, height)
    return _resampled(image, width, height, linear=linear)


def _with_alpha(image: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """Resize so that each pixel's colour counts by its alpha. Otherwise what is hardly visible would leave a fringe."""
    last = image.bands - 1
    colours, alpha = image[:last], image[last].cast("float")
    weighed = (colours * alpha).bandjoin(alpha)
    sharp, soft = (_resampled(weighed, width, height, linear=linear) for linear in (False, True))
    # sharp kernels have negative weights: at edges of alpha the sum of weights may be near 0
    steady = (sharp[last] - soft[last]).abs() * 4 < soft[last]
    shares = steady.ifthenelse(sharp, soft)
    visible = shares[last] > 0
    found = visible.ifthenelse(shares[:last] / visible.ifthenelse(shares[last], 1), _resampled(colours, width, height))
    found = found.bandjoin(soft[last])
    return found if image.format in ("float", "double") else found.rint().cast(image.format)


def _resampled(image: pyvips.Image, width: int, height: int, *, linear: bool = False) -> pyvips.Image:
    import pyvips

    across, down = width / image.width, height / image.height
    if min(across, down) < 1:
        image = image.resize(min(across, 1), vscale=min(down, 1), kernel="linear" if linear else "lanczos3")
    if (image.width, image.height) == (width, height):
        return image
    # `resize` would shift the image by half a pixel to the right and down
    return image.affine(
        (width / image.width, 0, 0, height / image.height),
        interpolate=pyvips.Interpolate.new("bilinear" if linear else "bicubic"),
        idx=0.5,
        idy=0.5,
        odx=-0.5,
        ody=-0.5,
        oarea=[0, 0, width, height],
        extend="copy",
    )
