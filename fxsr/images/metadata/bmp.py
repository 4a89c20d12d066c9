"""Metadata in BMP files: the resolution, which their header holds in pixels per metre.

Source: BITMAPINFOHEADER in Microsoft's documentation of GDI.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from fxsr.images.metadata.found import Found
from fxsr.images.metadata.values import METRE, Resolution

_HEADER, _RESOLUTION = 14, 38
_LEAST = 40
"""Bytes of the oldest header that holds a resolution."""


def read_bmp(file: BinaryIO) -> Found:
    """What a BMP file says besides its pixels."""
    found = Found()
    file.seek(_HEADER)
    header = file.read(_LEAST)
    if len(header) == _LEAST and struct.unpack_from("<I", header)[0] >= _LEAST:
        found.resolution = Resolution.per_metre(*struct.unpack_from("<ii", header, _RESOLUTION - _HEADER))
    return found


def state_resolution(path: Path, resolution: Resolution | None) -> None:
    """Replace the resolution in a BMP file; 0 says that there is none."""
    sides = resolution.per(METRE) if resolution and resolution.metres else (0, 0)
    with path.open("r+b") as file:
        file.seek(_RESOLUTION)
        file.write(struct.pack("<ii", *(min(round(side), 2**31 - 1) for side in sides)))
