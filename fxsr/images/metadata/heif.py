"""What else HEIC and AVIF files hold than their picture; its EXIF and XMP come from the decoder.

Source: ISO/IEC 23008-12 (HEIF), 6.5.8 (auxiliary images); ISO/IEC 21496-1 (gain maps).
"""

from __future__ import annotations

from typing import BinaryIO

_MOST = 1 << 20
"""Bytes of a file's table that are looked through."""
_AUXILIARY = {
    b"hdrgainmap": "the gain map (HDR) is left out",
    b"tmap": "the gain map (HDR) is left out",
    b"auxiliary:depth": "the depth map is left out",
    b"hevc:2015:auxid:2": "the depth map is left out",
    b"disparity": "the depth map is left out",
    b"matte": "the mattes of the portrait are left out",
}


def heif_notes(file: BinaryIO) -> list[str]:
    """Notes of what else the file holds than its picture."""
    at, end = 0, file.seek(0, 2)
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if head[4:8] == b"meta":
            file.seek(at)
            table = file.read(min(size or _MOST, _MOST))
            return list(dict.fromkeys(note for sign, note in _AUXILIARY.items() if sign in table))
        if size < 8:
            break
        at += size
    return []
