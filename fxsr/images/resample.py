"""Images in other sizes, by libvips."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyvips


def resampled(image: pyvips.Image, width: int, height: int, *, linear: bool = False) -> pyvips.Image:
    """An image in exactly this size, in place: pixels are areas, and the image's borders stay where they are.

    Lanczos where it shrinks, which averages as much as it must, and bicubic where it grows; or bilinear in both cases.
    """
    import pyvips

    across, down = width / image.width, height / image.height
    if min(across, down) < 1:
        image = image.resize(min(across, 1), vscale=min(down, 1), kernel="linear" if linear else "lanczos3")
    if (image.width, image.height) == (width, height):
        return image
    # `resize` puts what it enlarges half a pixel too far right and down
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
