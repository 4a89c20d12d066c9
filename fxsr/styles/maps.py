"""Makes style maps: arithmetic on (H, W) float32 arrays in 0..1, where 0 is faithful and 1 is perceptual.

`fxsr.styles.texture` makes maps of the texture in photos. `fxsr.cli.tmap` reads and writes the files. A map to upscale
with is a `fxsr.styles.style_map.StyleMap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import StyleError

Plane = NDArray[np.float32]
"""(H, W); t in 0..1 unless stated otherwise."""

PlaneRows = Callable[[slice], Plane]
"""A plane whose rows are computed when they are asked for, so that its height needs no memory."""

How = Literal["max", "min", "mean", "multiply", "screen", "add", "subtract"]
"""How `combine` combines maps."""


def feather(plane: Plane, radius: float) -> Plane:
    """Blur a plane, so that a hard border becomes an S-shaped slope that reaches `radius` pixels to either side.

    Three box blurs approximate a Gaussian; boxes of a fractional width follow Gwosdek et al., "Theoretical foundations
    of Gaussian convolution by extended box filtering" (2011). The time does not depend on the radius. The plane is
    mirrored at its borders, which keeps its mean. Values may have any range, and stay inside it.

    Raises:
        StyleError: the radius is not a finite number of pixels, 0 or more.
    """
    check_feather(radius)
    if radius == 0:
        return plane
    low, high = plane.min(), plane.max()
    for _ in range(2):
        half = min(radius / 3, plane.shape[1])  # a wider box would give the mean as well
        for _ in range(3):
            plane = _box(plane, half)
        plane = np.ascontiguousarray(plane.T)  # sums along rows are twice as fast as along columns
    return plane.clip(low, high)  # the sums are rounded


def ramp(plane: Plane, low: float, high: float) -> Plane:
    """Map 0..1 linearly to `low`..`high`; with `low` above `high` the map is inverted.

    Raises:
        StyleError: `low` or `high` is not in 0..1.
    """
    for t in (low, high):
        check_t(t)
    return (np.float32(low) + plane * np.float32(high - low)).clip(min(low, high), max(low, high))


def from_mask(mask: Plane, *, threshold: float | None = None, invert: bool = False, grow: int = 0) -> Plane:
    """A map from a mask in 0..1.

    Args:
        threshold: values of at least this become 1, smaller ones 0; None keeps all values.
        invert: swap black and white, after the threshold and before growing.
        grow: pixels by which bright areas grow in all eight directions; they shrink if it is negative.
    """
    if threshold is not None:
        mask = (mask >= threshold).astype(np.float32)
    if invert:
        mask = 1 - mask
    return spread(mask, grow) if grow >= 0 else 1 - spread(1 - mask, -grow)


def from_depth(
    depth: NDArray[Any], near: float = 1, far: float = 0, *, gamma: float = 1, white_is_far: bool = False
) -> Plane:
    """A map from a depth image.

    t = far + (near - far) * nearness ** gamma. Nearness is 0 at the farthest and 1 at the nearest percentile: depth
    images seldom use their type's full range, and often have some wrong pixels.

    Args:
        depth: (H, W), of any type and range. Infinity, as renderers write it where there is nothing, counts as the
            largest finite number.
        near: t of the nearest pixels.
        far: t of the farthest pixels.
        gamma: above 1, only the nearest pixels get t near `near`; below 1, most pixels do.
        white_is_far: large values are far, as in a z-buffer or in metres; otherwise they are near, as in inverse depth
            (MiDaS, Depth Anything).

    Raises:
        StyleError: the depth is the same everywhere or not a number, or an argument is outside its range.
    """
    if depth.dtype.kind == "f" and not (usable := np.isfinite(depth)).all():
        depth = np.where(depth == np.inf, depth[usable].max(initial=-np.inf), depth)
        if not np.isfinite(depth).all():
            raise StyleError("the depth holds values that are not numbers, or negative infinity")
    if not (math.isfinite(gamma) and gamma > 0):
        raise StyleError(f"gamma is {gamma}; it must be above 0")
    low, high = (float(level) for level in np.percentile(depth, (1, 99)))
    if low == high:  # a small object in front of a uniform background
        low, high = float(depth.min()), float(depth.max())
    if low == high:
        raise StyleError(f"the depth is {low:g} everywhere; there is nothing to tell near from far by")
    nearness = ((depth.astype(np.float32) - low) / (high - low)).clip(0, 1)
    return ramp((1 - nearness if white_is_far else nearness) ** np.float32(gamma), far, near)


def linear_gradient(height: int, width: int, angle: float = 0, span: tuple[float, float] = (0, 1)) -> Plane:
    """`linear_gradient_rows`, whole."""
    return linear_gradient_rows(height, width, angle, span)(slice(0, height))


def linear_gradient_rows(height: int, width: int, angle: float = 0, span: tuple[float, float] = (0, 1)) -> PlaneRows:
    """A map of `height` x `width` that rises from 0 to 1 across the picture, and reaches both in corners.

    Args:
        angle: direction in degrees in which t rises: 0 to the right, 90 downwards.
        span: fractions of the way between which t rises; it is 0 before and 1 after.

    Raises:
        StyleError: the angle is not a number, or the span is not two rising numbers in 0..1.
    """
    if not math.isfinite(angle):
        raise StyleError(f"angle is {angle}; it must be a number of degrees")
    # exact where the direction is along an axis: else rounding tilts the gradient
    cosine, sine = round(math.cos(math.radians(angle)), 12), round(math.sin(math.radians(angle)), 12)

    def way(x: Plane, y: Plane) -> Plane:
        return x * cosine + y * sine

    least = way(*_corners(height, width)).min()
    return _rise(height, width, lambda x, y: way(x, y) - least, span)


def radial_gradient(
    height: int, width: int, centre: tuple[float, float] = (0.5, 0.5), span: tuple[float, float] = (0, 1)
) -> Plane:
    """`radial_gradient_rows`, whole."""
    return radial_gradient_rows(height, width, centre, span)(slice(0, height))


def radial_gradient_rows(
    height: int, width: int, centre: tuple[float, float] = (0.5, 0.5), span: tuple[float, float] = (0, 1)
) -> PlaneRows:
    """A map of `height` x `width` that rises from 0 in the centre to 1 in the farthest corner.

    Args:
        centre: x and y as fractions of the width and the height.
        span: see `linear_gradient_rows`.

    Raises:
        StyleError: the span is not two rising numbers in 0..1.
    """
    across, down = centre[0] * (width - 1), centre[1] * (height - 1)
    return _rise(height, width, lambda x, y: np.hypot(x - across, y - down), span)


def combine(planes: Sequence[Plane], how: How) -> Plane:
    """Combine maps: their maximum, minimum, mean, product or sum, or the first minus the others, clipped to 0..1.

    `screen` is 1 - (1 - a)(1 - b)..., as in image editors.

    Raises:
        StyleError: the maps differ in size, or there are none.
    """
    sizes = sorted({plane.shape for plane in planes})
    if len(sizes) != 1:
        raise StyleError(f"maps to combine must be of one size; these have the shapes {sizes}")
    stack = np.stack(planes)
    combined: Plane
    match how:
        case "max":
            combined = stack.max(0)
        case "min":
            combined = stack.min(0)
        case "mean":
            combined = stack.mean(0)
        case "multiply":
            combined = stack.prod(0)
        case "screen":
            combined = 1 - (1 - stack).prod(0)
        case "add":
            combined = stack.sum(0).clip(0, 1)
        case "subtract":
            combined = (stack[0] - stack[1:].sum(0)).clip(0, 1)
    return combined


def spread(plane: Plane, radius: int) -> Plane:
    """The maximum over a square that reaches `radius` pixels to each side, in time that grows with its logarithm."""
    for axis in (0, 1):
        window = 2 * min(radius, plane.shape[axis]) + 1
        pad = [(0, 0), (0, 0)]
        pad[axis] = (window // 2, window // 2)
        lines = np.moveaxis(np.pad(plane, pad, mode="edge"), axis, 0)
        reach = 1
        while reach < window:
            shift = min(reach, window - reach)
            lines = np.maximum(lines[:-shift], lines[shift:])
            reach += shift
        plane = np.moveaxis(lines, 0, axis)
    return plane


def smooth_step(plane: Plane, low: float, high: float) -> Plane:
    """0 up to `low`, 1 from `high`, smooth in between."""
    x: Plane = ((plane - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return x * x * (3 - 2 * x)


def check_t(t: float) -> None:
    """Refuse a value that is not a style.

    Raises:
        StyleError: it is not a number in 0..1.
    """
    if not (isinstance(t, int | float | np.number) and 0 <= float(t) <= 1):
        raise StyleError(f"t is {t}; it must be a number from 0 (faithful) to 1 (perceptual)")


def check_feather(radius: float) -> None:
    """Refuse a radius that a map can't be feathered by.

    Raises:
        StyleError: it is not a finite number of pixels, 0 or more.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise StyleError(f"feather is {radius}; it must be a number of pixels, 0 or more")


def _box(plane: Plane, half: float) -> Plane:
    """Mean over `half` pixels to the left and right; the fraction of `half` weights the outermost pixels."""
    whole, part = int(half), half - int(half)
    padded = np.pad(plane, ((0, 0), (whole + 1, whole + 1)), mode="symmetric")
    sums = np.cumsum(padded, 1, dtype=np.float64)
    inner = sums[:, 2 * whole + 1 : -1] - sums[:, : -2 * whole - 2]
    outer = padded[:, : -2 * whole - 2] + padded[:, 2 * whole + 2 :]
    mean: Plane = ((inner + part * outer) / (2 * half + 1)).astype(np.float32)
    return mean


def _grid(rows: slice, width: int) -> tuple[Plane, Plane]:
    """x and y of each pixel, (h, W) each."""
    y, x = np.mgrid[rows, :width].astype(np.float32)
    return x, y


def _corners(height: int, width: int) -> tuple[Plane, Plane]:
    """x and y of the four corners, (2, 2) each."""
    x, y = np.meshgrid(np.array([0, width - 1], np.float32), np.array([0, height - 1], np.float32))
    return x, y


def _rise(height: int, width: int, way: Callable[[Plane, Plane], Plane], span: tuple[float, float]) -> PlaneRows:
    """A plane that rises from 0 to 1 while `way`, a function of x and y that is largest in a corner, rises between two
    fractions of its maximum."""
    begin, end = span
    if not 0 <= begin < end <= 1:
        raise StyleError(f"span is {begin:g},{end:g}; it must be two rising fractions in 0..1, such as 0.2,0.8")
    most = max(float(way(*_corners(height, width)).max()), 1e-6)

    def rows(rows: slice) -> Plane:
        share = way(*_grid(rows, width)) / most
        return ((share - begin) / (end - begin)).clip(0, 1).astype(np.float32)

    return rows
