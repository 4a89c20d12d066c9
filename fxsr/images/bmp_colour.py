"""What the header of a BMP file says of its colours (BITMAPV4HEADER and BITMAPV5HEADER of the Windows API)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from fxsr.images.colour import Encoding
from fxsr.images.curves import CurveKind
from fxsr.images.icc import Primaries

_HEADER = 14
"""Offset of the header."""
_V4, _V5 = 108, 124
"""Sizes of headers that speak of colours."""
_CALIBRATED, _EMBEDDED = 0, 0x4D424544
"""Kinds of colour spaces: primaries and gammas in the header, and an ICC profile in the file."""
_MOST_PROFILE = 1 << 24


@dataclass(frozen=True)
class BmpColour:
    """What a file says of its colours. Neither: they are those of sRGB."""

    encoding: Encoding | None = None
    profile: bytes | None = None


def bmp_colour(path: Path) -> BmpColour | None:
    """What a BMP file says of its colours; None if it is none.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER + _V5)
        if head[:2] != b"BM" or len(head) < _HEADER + _V4:
            return None if head[:2] != b"BM" else BmpColour()
        size, kind = struct.unpack_from("<I", head, _HEADER)[0], struct.unpack_from("<I", head, _HEADER + 56)[0]
        if size >= _V4 and kind == _CALIBRATED:
            return BmpColour(_calibrated(head))
        if size < _V5 or kind != _EMBEDDED or len(head) < _HEADER + _V5:
            return BmpColour()
        offset, length = struct.unpack_from("<II", head, _HEADER + 112)
        file.seek(_HEADER + offset)
        return BmpColour(profile=file.read(min(length, _MOST_PROFILE)))


def _calibrated(head: bytes) -> Encoding | None:
    """Primaries as XYZ, and gammas; many writers leave all of them 0."""
    numbers = [number / 2**30 for number in struct.unpack_from("<9I", head, _HEADER + 60)]
    gammas = [number / 2**16 for number in struct.unpack_from("<3I", head, _HEADER + 96)]
    sums = [sum(numbers[start : start + 3]) for start in (0, 3, 6)]
    if not (all(sums) and gammas[0] and gammas[0] == gammas[1] == gammas[2]):
        return None
    red, green, blue = (
        (numbers[3 * index] / total, numbers[3 * index + 1] / total) for index, total in enumerate(sums)
    )
    white = [sum(numbers[axis::3]) for axis in range(3)]
    primaries = Primaries(red, green, blue, (white[0] / sum(white), white[1] / sum(white)))
    # headers state the gamma of the screen, or its inverse
    gamma = gammas[0] if gammas[0] >= 1 else 1 / gammas[0]
    return Encoding("BMP header", primaries, CurveKind.GAMMA, gamma)
