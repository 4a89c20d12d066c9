"""The style maps that the page offers to make from a photo, by one click each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import install_line
from fxsr.images.image import resize_plane
from fxsr.images.rows import Pixels
from fxsr.styles import maps as tmap
from fxsr.styles.automatic.registry import AUTOMATIC_MAPS, missing

SUGGESTED = "auto"
"""The map that the page proposes for every photo."""


@dataclass(frozen=True)
class AutomaticMap:
    """A way to make a style map from a photo."""

    description: str
    """One line for the user."""
    make: Callable[[Pixels], NDArray[np.float32]]
    """From (H, W, C) pixels to (H, W) in 0..1."""


def _whole(make: Callable[[Pixels], NDArray[np.float32]]) -> Callable[[Pixels], NDArray[np.float32]]:
    """A map of the photo's size, of one that may be smaller."""
    return lambda pixels: resize_plane(make(pixels), *pixels.shape[:2])


AUTOMATIC: Mapping[str, AutomaticMap] = {
    **{name: AutomaticMap(kind.about, _whole(kind.make)) for name, kind in AUTOMATIC_MAPS.items()},
    "to the right": AutomaticMap(
        "Faithful on the left, and crisp on the right.",
        lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1]),
    ),
    "downwards": AutomaticMap(
        "Faithful at the top, and crisp at the bottom.",
        lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1], 90),
    ),
    "outwards": AutomaticMap(
        "Faithful in the middle, and crisp in the corners.",
        lambda pixels: tmap.radial_gradient(pixels.shape[0], pixels.shape[1]),
    ),
}
"""By name, in the order in which the page lists them."""


def offered_maps() -> list[dict[str, str]]:
    """Name and description of each map that can be made here, without the suggested one."""
    absent = {SUGGESTED, *missing()}
    return [{"name": name, "description": kind.description} for name, kind in AUTOMATIC.items() if name not in absent]


def suggestion() -> dict[str, str]:
    """What the page says of the suggested map, which depends on the detectors that are installed: its name, a
    description, and a note on what it leaves out, or ""."""
    absent = missing()
    kept = {"faces": "faces and skin", "text": "text and line art"}
    found = [words for name, words in kept.items() if name not in absent]
    soft = "what is out of focus stays soft, and texture gets crisp."
    extras = [AUTOMATIC_MAPS[name].extra or name for name in absent]
    return {
        "name": SUGGESTED,
        "description": f"{', '.join(found)} stay faithful, {soft}".capitalize() if found else soft.capitalize(),
        "note": f"It does not look for {' and '.join(absent)}. Add that in the clone of FxSR: "
        f"{install_line(','.join(extras))}"
        if absent
        else "",
    }
