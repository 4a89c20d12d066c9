"""OpenEXR files. Reading needs the package OpenEXR and loads the image whole; writing needs neither.

EXR files hold linear light, multiplied by alpha. Here colours are as in all other images: encoded by the sRGB curve,
which is extended beyond 1, and divided by alpha. Colours under alpha 0 are lost.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError, first_line
from fxsr.extras import needs
from fxsr.images.curves import decode_srgb, encode_srgb
from fxsr.images.rows import Pixels, Rows, check_pixels

MAGIC = b"\x76\x2f\x31\x01"
_NAMES = {1: ("Y",), 2: ("Y", "A"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
_BLOCK = 16
"""Lines that this module compresses together."""
_ZIP, _FLOAT = 3, 2
_NOT_PLAIN = 0x1A00
"""Bits in a file's version field: tiles, deep data, several parts."""
_LINES = {3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Lines that each kind of compression takes together, where it is more than one."""


def open_exr(path: Path, max_pixels: int | None = None, as_data: bool = False) -> Rows:
    """Read a grey or RGB image, with or without alpha. Other channels are left out, with a note.

    Args:
        as_data: return the numbers as they are stored, not as light that is encoded by the sRGB curve. A single channel
            may have any name, such as Z, and may hold infinity.

    Raises:
        TooLargeError: it has more pixels than `max_pixels`.
        ImageError: the file is damaged, or has no such channels.
        MissingExtraError: the package OpenEXR is not installed.
    """
    with needs("exr"):
        import OpenEXR
    if _is_cut(path):  # the library would print a lot on standard error
        raise ImageError(f"{path}: not an image that can be read, or a damaged one (it ends too early)")
    try:
        if max_pixels is not None:
            (left, top), (right, bottom) = OpenEXR.File(str(path), header_only=True).header()["dataWindow"]
            check_pixels(path, int(right - left) + 1, int(bottom - top) + 1, max_pixels)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            planes = {name: channel.pixels for name, channel in file.channels().items()}
            parts = len(file.parts)
    except (RuntimeError, OSError, ValueError) as error:
        raise ImageError(f"{path}: not an image that can be read, or a damaged one ({first_line(error)})") from error
    kinds = [names for names in _NAMES.values() if set(names) <= set(planes)]
    if as_data and len(planes) == 1:
        kinds = [tuple(planes)]
    if not kinds:
        raise ImageError(f"{path}: has the channels {', '.join(planes)}; R, G, B or Y, and A, can be upscaled")
    names = kinds[-1]
    if len({planes[name].shape for name in names}) > 1:
        raise ImageError(f"{path}: its channels are of different sizes")
    light = np.stack([planes[name].astype(np.float32) for name in names], 2)
    if np.isnan(light).any() or not (as_data or np.isfinite(light).all()):
        raise ImageError(f"{path}: holds NaN or infinity")
    notes = [f"channel {name} is left out" for name in planes if name not in names]
    if parts > 1:
        notes.append(f"has {parts} parts; only the first is upscaled")
    if not as_data:
        colours = light
        if names[-1] == "A":
            colours, alpha = light[..., :-1], light[..., -1:]
            colours /= np.where(alpha > 0, alpha, 1)
        colours[...] = encode_srgb(colours)
    rows = Rows.of(light)
    return Rows(rows.height, rows.width, rows.channels, rows.dtype, rows.bands, notes=tuple(notes))


def write_exr(path: Path, height: int, width: int, channels: int, bands: Iterator[Pixels]) -> None:
    """Write (h, width, channels) bands of float32, from top to bottom, with lossless compression."""
    names = sorted(_NAMES[channels])
    order = [_NAMES[channels].index(name) for name in names]
    blocks = (height + _BLOCK - 1) // _BLOCK
    offsets: list[int] = []
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<i", 2) + _header(height, width, names))
        table = file.tell()
        file.write(bytes(8 * blocks))
        for lines in _blocks(bands):
            if channels in (2, 4):
                lines = np.concatenate([decode_srgb(lines[..., :-1]) * lines[..., -1:], lines[..., -1:]], 2)
            else:
                lines = decode_srgb(lines)
            top = len(offsets) * _BLOCK
            offsets.append(file.tell())
            _write_block(file, top, lines[..., order].transpose(0, 2, 1))
        file.seek(table)
        file.write(struct.pack(f"<{blocks}Q", *offsets))


def _is_cut(path: Path) -> bool:
    """Whether a file is truncated. Checked for files of scan lines only, not for tiles or several parts."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(4)
        try:
            (version,) = struct.unpack("<I", file.read(4))
            if version & _NOT_PLAIN:
                return False
            values = dict(iter(lambda: _attribute(file), None))
            _, top, _, bottom = struct.unpack("<4i", values[b"dataWindow"])
            lines = _LINES.get(values[b"compression"][0], 1)
            blocks = -(-(bottom + 1 - top) // lines)
            if not 0 < 8 * blocks < size:
                return True
            offsets = struct.unpack(f"<{blocks}Q", file.read(8 * blocks))
            file.seek(max(offsets) + 4)
            (length,) = struct.unpack("<i", file.read(4))
        except (struct.error, KeyError, IndexError, ValueError, OverflowError):
            return True
        return bool(file.tell() + length > size)


def _attribute(file: BinaryIO) -> tuple[bytes, bytes] | None:
    """Name and value of the next header entry; None at the end of the header."""
    name = _word(file)
    if not name:
        return None
    kind = _word(file)
    (length,) = struct.unpack("<i", file.read(4))
    if not kind or length < 0:
        raise ValueError
    return name, file.read(length)


def _word(file: BinaryIO) -> bytes:
    return b"".join(iter(lambda: file.read(1).strip(b"\0"), b""))


def _header(height: int, width: int, names: list[str]) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channel = struct.pack("<iB3xii", _FLOAT, 0, 1, 1)
    attributes = {
        "channels chlist": b"".join(name.encode() + b"\0" + channel for name in names) + b"\0",
        "compression compression": bytes([_ZIP]),
        "dataWindow box2i": window,
        "displayWindow box2i": window,
        "lineOrder lineOrder": b"\0",
        "pixelAspectRatio float": struct.pack("<f", 1),
        "screenWindowCenter v2f": struct.pack("<2f", 0, 0),
        "screenWindowWidth float": struct.pack("<f", 1),
    }
    parts = [
        name.replace(" ", "\0").encode() + b"\0" + struct.pack("<i", len(value)) + value
        for name, value in attributes.items()
    ]
    return b"".join(parts) + b"\0"


def _blocks(bands: Iterator[Pixels]) -> Iterator[Pixels]:
    """The same rows, in groups that are compressed together."""
    rest: Pixels | None = None
    for band in bands:
        rows = band if rest is None else np.concatenate([rest, band])
        whole = len(rows) - len(rows) % _BLOCK
        for top in range(0, whole, _BLOCK):
            yield rows[top : top + _BLOCK]
        rest = rows[whole:]
    if rest is not None and len(rest):
        yield rest


def _write_block(file: BinaryIO, top: int, planes: NDArray[np.float32]) -> None:
    """Write lines, (h, channels, W), compressed: even and odd bytes are separated, and each byte is stored as the
    difference from the one before."""
    plain = np.ascontiguousarray(planes, "<f4").view(np.uint8).ravel()
    sorted_ = np.concatenate([plain[::2], plain[1::2]])
    sorted_[1:] = sorted_[1:] - sorted_[:-1] + np.uint8(128)
    packed = zlib.compress(sorted_.tobytes(), 4)
    data = packed if len(packed) < plain.size else plain.tobytes()
    file.write(struct.pack("<ii", top, len(data)) + data)
