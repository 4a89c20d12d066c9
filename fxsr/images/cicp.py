"""Code points of video signals (ITU-T H.273), as PNG's cICP chunk and the colr boxes of HEIF and AVIF hold them."""

from __future__ import annotations

from fxsr.errors import ImageError
from fxsr.images.colour import Encoding
from fxsr.images.curves import CurveKind
from fxsr.images.icc import SRGB, Primaries

_C = (0.310, 0.316)
"""Illuminant C."""
_NTSC = Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_PRIMARIES = {
    1: SRGB,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: _NTSC,
    7: _NTSC,
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""H.273 table 2: BT.709, BT.470 M, BT.470 B/G, BT.601, SMPTE 240M, film, BT.2020, DCI-P3, Display P3, EBU 3213."""
_SAME_AS_SRGB = frozenset({1, 6, 7, 11, 12, 13, 14, 15})
"""H.273 table 3: sRGB, and the curves of SDR cameras, whose pictures are shown with the curve of sRGB."""
_UNSPECIFIED = 2


def encoding_of_codes(source: str, primaries: int, transfer: int, full_range: bool) -> Encoding | None:
    """What code points say; None if they leave it open.

    Args:
        source: where they stand, for messages.

    Raises:
        ImageError: they mean something that can't be converted; the message has no file name.
    """
    if transfer == _UNSPECIFIED and primaries == _UNSPECIFIED:
        return None
    if primaries not in (*_PRIMARIES, _UNSPECIFIED):
        raise ImageError(f"{source} states primaries {primaries} of ITU-T H.273, which can't be converted; use sRGB")
    colours = _PRIMARIES.get(primaries, SRGB)
    match transfer:
        case 4 | 5 | 8:
            gamma = {4: 2.2, 5: 2.8, 8: 1.0}[transfer]
            return Encoding(source, colours, CurveKind.GAMMA, gamma, full_range)
        case 16:
            return Encoding(source, colours, CurveKind.PQ, full_range=full_range)
        case 18:
            return Encoding(source, colours, CurveKind.HLG, full_range=full_range)
        case _ if transfer in _SAME_AS_SRGB or transfer == _UNSPECIFIED:
            return Encoding(source, colours, full_range=full_range)
        case _:
            raise ImageError(
                f"{source} states the transfer function {transfer} of ITU-T H.273, which can't be converted; use sRGB"
            )
