"""What the numbers of a picture without an ICC profile mean, where its file says it: primaries, curve, range.

Networks are trained on pictures with the curve of sRGB. So other curves are converted to it, high dynamic range is
tone-mapped, and primaries other than sRGB's are described by an ICC profile, which leaves the numbers as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fxsr.images.curves import CurveKind, ToneMapping, encode_srgb
from fxsr.images.icc import PROFILE, SRGB, Primaries, fit_profile, make_profile, to_srgb
from fxsr.images.rows import Pixels, dtype_peak

if TYPE_CHECKING:
    import pyvips

_USUAL_GAMMA = (1.6, 2.7)
"""Exponents near enough to the curve of sRGB that a picture can be upscaled as it is."""


@dataclass(frozen=True)
class Encoding:
    """What a file says of its colours."""

    source: str
    """Where it says so, such as `gAMA`; for notes."""
    primaries: Primaries | None = None
    """None: those of sRGB."""
    curve: CurveKind = CurveKind.SRGB
    gamma: float = 1.0
    """Exponent from values to light, if the curve is a power."""
    full_range: bool = True
    """False: black is 16 and white 235 of 255, as in video."""


@dataclass(frozen=True)
class SettledColours:
    """An image on the curve of sRGB, whose profile fits it or is gone."""

    image: pyvips.Image
    notes: list[str] = field(default_factory=list)
    finish: Callable[[Pixels], Pixels] | None = None
    """What is left to do with each band of its rows, (h, W, C) to the same."""


def settle_colours(image: pyvips.Image, encoding: Encoding | None, srgb: bool) -> SettledColours:
    """Apply to a grey or RGB image what its file says of its colours, or else fit its profile.

    Primaries other than those of sRGB become a profile, in place of the image's own.

    Args:
        image: with or without alpha; of 8 or 16 bits if `encoding` has another curve than sRGB's.
        encoding: None: its profile says it, or else it is sRGB.
        srgb: convert to sRGB, instead of leaving a profile.
    """
    settled = _apply(image, encoding, srgb) if encoding else SettledColours(*fit_profile(image))
    return replace(settled, image=to_srgb(settled.image)) if srgb else settled


def _apply(image: pyvips.Image, encoding: Encoding, srgb: bool) -> SettledColours:
    primaries, notes = _checked(encoding)
    wide = image.bands >= 3 and not primaries.near(SRGB)
    gamma, finish = None, None
    if not encoding.full_range:
        image = _mapped(image, lambda values: (values * 255 - 16) / 219)
        notes.append(f"limited range ({encoding.source}): stretched to the full range")
    if encoding.curve in (CurveKind.PQ, CurveKind.HLG):
        dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
        finish = ToneMapping(encoding.curve, primaries, dtype, srgb)
        notes.append(f"high dynamic range ({encoding.curve}, {encoding.source}): tone-mapped to standard range")
    elif encoding.curve == CurveKind.GAMMA:
        if wide and _USUAL_GAMMA[0] <= encoding.gamma <= _USUAL_GAMMA[1]:
            gamma = encoding.gamma
        else:
            image = _mapped(image, lambda values: encode_srgb(values**encoding.gamma))
            notes.append(f"gamma {encoding.gamma:.3g} ({encoding.source}): converted to the curve of sRGB")
    image = image.copy()
    image.remove(PROFILE)
    if wide and not (finish and srgb):
        import pyvips

        profile = make_profile(f"Colours stated by {encoding.source}", primaries, gamma)
        image.set_type(pyvips.GValue.blob_type, PROFILE, profile)
    return SettledColours(image, notes, finish)


def _checked(encoding: Encoding) -> tuple[Primaries, list[str]]:
    """The primaries, and a note if they are none and sRGB's are taken instead."""
    primaries = encoding.primaries or SRGB
    try:
        primaries.to_xyz()
    except ValueError as error:
        return SRGB, [f"{error} ({encoding.source}): colours are taken as sRGB"]
    return primaries, []


def _mapped(image: pyvips.Image, function: Callable[[NDArray[np.float64]], NDArray[Any]]) -> pyvips.Image:
    """Each colour, as a number in 0..1, through a function; what it gives is cut to 0..1. Alpha stays as it is."""
    import pyvips

    dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
    peak = int(dtype_peak(dtype))
    table = np.rint(function(np.arange(peak + 1) / peak).clip(0, 1) * peak)
    with_alpha = image.bands in (2, 4)
    tables = np.stack([table] * (image.bands - with_alpha) + [np.arange(peak + 1)] * with_alpha, 1)
    return image.maplut(pyvips.Image.new_from_array(tables.astype(dtype)[None])).copy(
        interpretation=image.interpretation
    )
