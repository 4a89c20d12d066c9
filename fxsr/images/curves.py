"""Functions between stored values and linear light, and tone mapping of high dynamic range."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.images.icc import SRGB, Primaries
from fxsr.images.rows import Pixels, dtype_peak

_SDR_WHITE = 203.0
"""Luminance of reference white in HDR pictures, in cd/m2 (ITU-R BT.2408)."""
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
"""Peak luminance in cd/m2 and system gamma of the display that HLG is decoded for (BT.2100 table 5)."""
_KNEE = 0.5
"""Light up to which tone mapping changes nothing; 1 is reference white. Our choice."""


class CurveKind(StrEnum):
    """The functions from stored values to light."""

    SRGB = "sRGB"
    GAMMA = "gamma"
    PQ = "PQ"
    HLG = "HLG"


def encode_srgb(light: NDArray[Any]) -> NDArray[np.float32]:
    """Encode linear light by the curve of sRGB (IEC 61966-2-1); negative values mirror positive ones."""
    size = np.abs(light)
    curve = np.where(size <= 0.0031308, size * 12.92, 1.055 * size.clip(0.0031308, None) ** (1 / 2.4) - 0.055)
    return np.asarray(np.copysign(curve, light), np.float32)


def decode_srgb(values: NDArray[Any]) -> NDArray[np.float32]:
    """The inverse of `encode_srgb`."""
    size = np.abs(values)
    curve = np.where(size <= 0.04045, size / 12.92, ((size.clip(0.04045, None) + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.copysign(curve, values), np.float32)


def pq_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of values of PQ, where 1 is reference white (SMPTE ST 2084, BT.2100 table 4)."""
    root = values ** (4096 / (2523 * 128))
    bent = (root - 3424 / 4096).clip(0) / ((2413 - 2392 * root) / 128)
    return np.asarray(bent ** (16384 / 2610) * 10000 / _SDR_WHITE, np.float64)


def hlg_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of the scene in 0..1, of values of HLG (BT.2100 table 5)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)


class ToneMapping:
    """Turns values of PQ or HLG into values of sRGB's curve. The brightest of R, G and B is bent above the knee, the
    others in proportion, so that hues stay and nothing is cut.

    Args:
        curve: PQ or HLG.
        primaries: what red, green and blue stand for.
        dtype: uint8 or uint16.
        srgb: convert to the primaries of sRGB, too. Colours outside are cut.
    """

    def __init__(self, curve: CurveKind, primaries: Primaries, dtype: np.dtype[Any], srgb: bool) -> None:
        peak = int(dtype_peak(dtype))
        function = pq_light if curve == CurveKind.PQ else hlg_light
        self._light = function(np.arange(peak + 1) / peak).astype(np.float32)
        self._weights = primaries.to_xyz()[1].astype(np.float32) if curve == CurveKind.HLG else None
        self._matrix = np.linalg.solve(SRGB.to_xyz(), primaries.to_xyz()).astype(np.float32) if srgb else None

    def __call__(self, pixels: Pixels) -> Pixels:
        """(h, W, C) to the same; alpha stays as it is."""
        count = 1 if pixels.shape[2] < 3 else 3
        light = self._light[pixels[..., :count]]
        if self._weights is not None:
            luminance = light @ self._weights if count == 3 else light[..., 0]
            light = light * (luminance ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _SDR_WHITE))[..., None]
        most = light.max(2, keepdims=True)
        above = (most - _KNEE).clip(0) / (1 - _KNEE)
        light = light * np.where(above > 0, (_KNEE + (1 - _KNEE) * above / (1 + above)) / most.clip(_KNEE), 1)
        if self._matrix is not None and count == 3:
            light = (light @ self._matrix.T).clip(0, 1)
        mapped = pixels.copy()
        mapped[..., :count] = encode_srgb(light) * dtype_peak(pixels.dtype) + 0.5
        return mapped
