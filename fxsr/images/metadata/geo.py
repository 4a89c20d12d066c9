"""GeoTIFF: where an image lies on earth, kept true when the image is resampled.

Source: OGC 19-008r4, GeoTIFF 1.1, annex B; the rational polynomials of GDAL's RPC note.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from fxsr.images.tiff_directory import Entry

PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, KEYS, RPC = 33550, 33922, 34264, 34735, 50844
TAGS = (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, KEYS, 34736, 34737, RPC)
"""Entries that say where the image lies. The last three but one name the system of coordinates."""
_RASTER_TYPE, _POINTS = 1025, 2
_DOUBLE = 12


def resampled(geo: Sequence[Entry], across: float, down: float) -> tuple[Entry, ...]:
    """The entries for an image that was resampled to so many times its width and height.

    Pixels are areas, and the image's borders stay in place. Where a GeoTIFF file counts from the middle of the first
    pixel ("pixel is point"), that middle moves.
    """
    middle = 0.5 if _counts_points(geo) else 0.0
    return tuple(_resampled(entry, (across, down), middle) for entry in geo)


def _counts_points(geo: Sequence[Entry]) -> bool:
    for entry in geo:
        if entry.tag == KEYS and entry.kind == 3:
            keys = entry.numbers()
            return any(keys[at] == _RASTER_TYPE and keys[at + 3] == _POINTS for at in range(4, len(keys) - 3, 4))
    return False


def _resampled(entry: Entry, factors: tuple[float, float], middle: float) -> Entry:
    values = list(entry.numbers()) if entry.kind == _DOUBLE else []

    def moved(place: float, axis: int) -> float:
        return (place + middle) * factors[axis] - middle

    match entry.tag:
        case 33550 if len(values) >= 2:
            values[:2] = values[0] / factors[0], values[1] / factors[1]
        case 33922:
            for at in range(0, len(values) - 5, 6):
                values[at : at + 2] = moved(values[at], 0), moved(values[at + 1], 1)
        case 34264 if len(values) == 16:
            values = list(_transformed(values, factors, middle))
        case 50844 if len(values) >= 9:  # its lines and samples count from the middle of the first pixel
            for at, axis in ((2, 1), (3, 0)):
                values[at] = (values[at] + 0.5) * factors[axis] - 0.5
            values[7], values[8] = values[7] * factors[1], values[8] * factors[0]
        case _:
            return entry
    return Entry(entry.tag, entry.kind, struct.pack(f"<{len(values)}d", *values))


def _transformed(matrix: Sequence[float], factors: tuple[float, float], middle: float) -> Iterator[float]:
    """The matrix from pixels to coordinates, after that from new pixels to old ones."""
    for row in range(0, 16, 4):
        x, y, z, shift = matrix[row : row + 4]
        yield x / factors[0]
        yield y / factors[1]
        yield z
        yield shift + sum(step * (middle / factor - middle) for step, factor in zip((x, y), factors, strict=True))
