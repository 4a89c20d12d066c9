"""Reads and writes EXIF in TIFF files, which libvips can't do. Pillow parses the structures; pixels are not touched.

EXIF is passed as the blob of JPEG files: b"Exif\\0\\0" and a small TIFF structure.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_DESCRIPTION = (270, 271, 272, 305, 306, 315, 33432)
"""Tags that describe the picture: description, make, model, software, date, artist, copyright."""
_EXIF, _GPS = 0x8769, 0x8825
_STRIP_OFFSETS = 273
_CLASSIC = (b"II*\0", b"MM\0*")


def read_exif(path: Path) -> bytes | None:
    """The EXIF of a classic TIFF file as a blob; None if it has none, or is not a classic TIFF file."""
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] not in _CLASSIC:
            return None
        try:
            main = _load(file, head, None)
            exif = Image.Exif()
            for tag in _DESCRIPTION:
                if tag in main:
                    exif[tag] = main[tag]
            for tag in (_EXIF, _GPS):
                if tag in main:
                    exif.get_ifd(tag).update(dict(_load(file, head, main[tag])))
            blob = exif.tobytes()
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
            return None  # damaged metadata is no reason to refuse the pixels
    return bytes(blob) if len(exif) or exif.get_ifd(_EXIF) or exif.get_ifd(_GPS) else None


def add_exif(path: Path, blob: bytes) -> bool:
    """Add EXIF to a classic TIFF file, as a new directory at its end that includes the old one's entries.

    Returns:
        False if the file is of another kind (BigTIFF), or the blob can't be read.
    """
    from PIL import Image

    exif = Image.Exif()
    with path.open("r+b") as file:
        head = file.read(8)
        if head[:4] not in _CLASSIC:
            return False
        try:
            exif.load(blob)
            main = _load(file, head, None)
            strips = main[_STRIP_OFFSETS]
            for tag in _DESCRIPTION:
                if tag in exif:
                    main[tag] = exif[tag]
            for tag in (_EXIF, _GPS):
                if sub := exif.get_ifd(tag):
                    main.tagtype[tag] = 4
                    main[tag] = dict(sub)
            end = file.seek(0, 2)
            end += end % 2
            directory = bytearray(main.tobytes(end))
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
            return False
        _put_strips(directory, end, strips, "<" if head[:2] == b"II" else ">")
        file.seek(end)
        file.write(directory)
        file.seek(4)
        file.write(struct.pack("<I" if head[:2] == b"II" else ">I", end))
    return True


def _load(file: Any, head: bytes, offset: int | None) -> Any:
    from PIL import TiffImagePlugin

    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    dict(directory)  # Pillow decodes entries when they are read, and writes only decoded ones
    return directory


def _put_strips(directory: bytearray, at: int, strips: tuple[int, ...], order: str) -> None:
    """Restore the offsets of strips: Pillow changes them, since it expects to write the strips after the directory."""
    (count,) = struct.unpack_from(f"{order}H", directory)
    for entry in range(2, 2 + 12 * count, 12):
        tag, _, number, value = struct.unpack_from(f"{order}HHII", directory, entry)
        if tag == _STRIP_OFFSETS:
            place = entry + 8 if number == 1 else value - at
            struct.pack_into(f"{order}{number}I", directory, place, *strips)
