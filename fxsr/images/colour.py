"""What the numbers of a picture without an ICC profile mean, where its file says it: primaries, curve, range.

Networks are trained on pictures with the curve of sRGB. So other curves are converted to it, high dynamic range is
tone-mapped, and primaries other than sRGB's are described by an ICC profile, which leaves the numbers as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fxsr.images.icc import PROFILE, SRGB, Primaries, fit_profile, make_profile

if TYPE_CHECKING:
    import pyvips

_SDR_WHITE = 203.0
"""Luminance of reference white in HDR pictures, in cd/m2 (ITU-R BT.2408)."""
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
"""Peak luminance in cd/m2 and system gamma of the display that HLG is decoded for (BT.2100 table 5)."""
_KNEE = 0.5
"""Light up to which tone mapping changes nothing; 1 is reference white."""
_USUAL_GAMMA = (1.6, 2.7)
"""Exponents near enough to the curve of sRGB that a picture can be upscaled as it is."""


class CurveKind(StrEnum):
    """The functions from stored values to light."""

    SRGB = "sRGB"
    GAMMA = "gamma"
    PQ = "PQ"
    HLG = "HLG"


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


def encode_srgb(image: pyvips.Image) -> pyvips.Image:
    """Linear light as values on the curve of sRGB (IEC 61966-2-1), floats that may lie outside 0..1."""
    size = image.abs()
    curve = (size <= 0.0031308).ifthenelse(size * 12.92, size ** (1 / 2.4) * 1.055 - 0.055)
    return (curve * image.sign()).cast("float")


def apply_encoding(image: pyvips.Image, encoding: Encoding) -> tuple[pyvips.Image, list[str]]:
    """An image of 8 or 16 bits, with or without alpha, whose values are on a curve like that of sRGB.

    Its profile becomes one that describes the primaries, or is removed where they are those of sRGB.

    Returns:
        The image, and notes about conversions.
    """
    import pyvips

    count = 1 if image.bands < 3 else 3
    colours, rest = image[:count], image[count:] if image.bands > count else None
    notes = []
    primaries = encoding.primaries or SRGB
    gamma: float | None = None
    wide = count == 3 and not primaries.near(SRGB)
    if not encoding.full_range:
        colours = _mapped(colours, lambda values: (values * 255 - 16) / 219)
        notes.append(f"{encoding.source} says that values are of limited range: stretched to the full range")
    if encoding.curve in (CurveKind.PQ, CurveKind.HLG):
        colours = _tone_mapped(colours, encoding.curve, primaries)
        notes.append(f"high dynamic range ({encoding.curve}, {encoding.source}) is tone-mapped to standard range")
    elif encoding.curve == CurveKind.GAMMA:
        if wide and _USUAL_GAMMA[0] <= encoding.gamma <= _USUAL_GAMMA[1]:
            gamma = encoding.gamma
        else:
            colours = _mapped(colours, lambda values: _srgb_curve(values**encoding.gamma))
            notes.append(f"{encoding.source} says gamma {encoding.gamma:.3g}: converted to the curve of sRGB")
    image = (colours.bandjoin(rest) if rest is not None else colours).copy(interpretation=image.interpretation)
    image.remove(PROFILE)
    if wide:
        try:
            profile = make_profile(f"Colours stated by {encoding.source}", primaries, gamma)
        except ValueError as error:
            return image, [*notes, f"{encoding.source} states {error}: colours are taken as sRGB"]
        image.set_type(pyvips.GValue.blob_type, PROFILE, profile)
    return image, notes


def settle_colours(image: pyvips.Image, encoding: Encoding | None) -> tuple[pyvips.Image, list[str]]:
    """A grey or RGB image with what its file says of its colours applied, or else with a profile that fits."""
    if encoding is None:
        return fit_profile(image)
    return apply_encoding(image, encoding)


def _mapped(image: pyvips.Image, function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> pyvips.Image:
    """Each value, as a number in 0..1, through a function; what it gives is cut to 0..1."""
    import pyvips

    dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
    peak = np.iinfo(dtype).max
    table = function(np.arange(peak + 1) / peak).clip(0, 1)
    return image.maplut(pyvips.Image.new_from_array(np.rint(table * peak).astype(dtype)[None]))


def _tone_mapped(image: pyvips.Image, curve: CurveKind, primaries: Primaries) -> pyvips.Image:
    """Values of HDR as values of SDR. The brightest of R, G and B is bent above the knee, the others in proportion, so
    that hues stay and nothing is cut."""
    import pyvips

    deep = image.format == "ushort"
    peak = 65535 if deep else 255
    values = np.arange(peak + 1) / peak
    light = image.maplut(
        pyvips.Image.new_from_array((_pq_light if curve == CurveKind.PQ else _hlg_light)(values)[None])
    )
    if curve == CurveKind.HLG:
        weights = primaries.to_xyz()[1] if image.bands == 3 else np.ones(1)
        luminance = light.recomb(pyvips.Image.new_from_array(weights[None]))
        light = light * (luminance ** (_HLG_GAMMA - 1)) * (_HLG_PEAK / _SDR_WHITE)
    most = light[0].bandrank([light[band] for band in range(1, light.bands)], index=light.bands - 1)
    above = (most - _KNEE) / (1 - _KNEE)
    bent = above / (above + 1) * (1 - _KNEE) + _KNEE
    light = light * (most <= _KNEE).ifthenelse(1.0, bent / most)
    return (encode_srgb(light) * peak + 0.5).cast("ushort" if deep else "uchar")


def _pq_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of values of PQ, where 1 is reference white (SMPTE ST 2084, BT.2100 table 4)."""
    root = values ** (4096 / (2523 * 128))
    bent = (root - 3424 / 4096).clip(0) / ((2413 - 2392 * root) / 128)
    return np.asarray(bent ** (16384 / 2610) * 10000 / _SDR_WHITE, np.float64)


def _hlg_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of the scene in 0..1, of values of HLG (BT.2100 table 5)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)


def _srgb_curve(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light in 0..1 as values of sRGB."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
