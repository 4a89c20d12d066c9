"""Metadata in BMP files, as far as FxSR writes them: the resolution, which their header holds in pixels per metre.

Source: BITMAPINFOHEADER in Microsoft's documentation of GDI.
"""

from __future__ import annotations

import struct
from pathlib import Path

from fxsr.images.metadata.values import METRE, Resolution

_RESOLUTION = 38


def state_resolution(path: Path, resolution: Resolution | None) -> None:
    """Replace the resolution in a BMP file; 0 says that there is none."""
    sides = resolution.per(METRE) if resolution and resolution.metres else (0, 0)
    with path.open("r+b") as file:
        file.seek(_RESOLUTION)
        file.write(struct.pack("<ii", *(min(round(side), 2**31 - 1) for side in sides)))
