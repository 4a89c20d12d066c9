"""OpenEXR files. Reading needs the package OpenEXR and loads the image whole; writing needs neither.

EXR files hold linear light, multiplied by alpha. Here colours are as in all other images: encoded by the sRGB curve,
which is extended beyond 1, and divided by alpha. Colours under alpha 0 are lost.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError, first_line
from fxsr.extras import needs
from fxsr.images.curves import decode_srgb, encode_srgb
from fxsr.images.exr_frame import frame_note, framed, srgb_matrix
from fxsr.images.rows import Pixels, Rows, check_pixels
from fxsr.images.structure.base import damaged
from fxsr.images.structure.exr import Part, examine_exr

MAGIC = b"\x76\x2f\x31\x01"
_NAMES = {1: ("Y",), 2: ("Y", "A"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
_BLOCK = 16
"""Lines that this module compresses together."""
_ZIP, _FLOAT = 3, 2
_FEW = 3
"""Number of channels that get a note of their own."""
_KNOWN = {
    *("channels", "compression", "dataWindow", "displayWindow", "lineOrder", "pixelAspectRatio", "screenWindowCenter"),
    *("screenWindowWidth", "chromaticities", "tiles", "type", "name", "version", "chunkCount", "view", "preview"),
}
"""Header entries that every file has, or that are read."""


def open_exr(path: Path, max_pixels: int | None = None, as_data: bool = False) -> Rows:
    """Read a grey or RGB image, with or without alpha: the first part that holds one. What it shows is its display
    window: pixels outside of it are left out, and where none are stored it is black and transparent. Colours of other
    primaries are converted to those of sRGB. All that is left out is named in a note.

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
    parts = examine_exr(path)
    number, names = _choose(path, parts, as_data)
    part = parts[number]
    for left, top, right, bottom in (part.data, part.display):
        check_pixels(path, right - left + 1, bottom - top + 1, max_pixels)
    notes = _notes(parts, number, names, as_data)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            planes = {name: channel.pixels for name, channel in file.channels(number).items()}
            whole = len(file.parts) == len(parts)
    except (RuntimeError, OSError, ValueError) as error:
        raise damaged(path, first_line(error)) from error
    if not whole or not set(names) <= set(planes):  # the library leaves out parts that it can't read
        raise damaged(path, "a part of it can't be decoded")
    light = np.stack([planes[name].astype(np.float32) for name in names], 2)
    if np.isnan(light).any() or not (as_data or np.isfinite(light).all()):
        raise ImageError(f"{path}: holds NaN or infinity")
    if not as_data:
        colours = light
        if names[-1] == "A":
            colours, alpha = light[..., :-1], light[..., -1:]
            colours /= np.where(alpha > 0, alpha, 1)
        if colours.shape[2] == 3 and (matrix := srgb_matrix(part.chromaticities)) is not None:
            colours[...] = colours @ matrix.T
        colours[...] = encode_srgb(colours)
    return framed(path, light, part.data, part.display, tuple(notes))


def _choose(path: Path, parts: Sequence[Part], as_data: bool) -> tuple[int, tuple[str, ...]]:
    """The number of the part to read, and its channels in their order."""
    found: list[str] = []
    for number, part in enumerate(parts):
        channels = {channel.name: channel for channel in part.channels}
        found += channels
        kinds = [names for names in _NAMES.values() if set(names) <= set(channels)]
        if as_data and len(channels) == 1:
            kinds = [tuple(channels)]
        if not kinds:
            continue
        if {"RY", "BY"} & set(channels) and "Y" in kinds[-1]:
            raise ImageError(f"{path}: stores luminance and chroma apart (Y, RY, BY); convert it to RGB first")
        if any(channels[name].sampling != (1, 1) for name in kinds[-1]):
            raise ImageError(f"{path}: has subsampled channels; convert it to full resolution first")
        return number, kinds[-1]
    raise ImageError(f"{path}: has the channels {', '.join(found)}; R, G, B or Y, and A, can be upscaled")


def _notes(parts: Sequence[Part], number: int, names: tuple[str, ...], as_data: bool) -> list[str]:
    """What is not read, or was converted."""
    part = parts[number]
    notes = [f"channel {channel.name} is left out" for channel in part.channels if channel.name not in names]
    if len(notes) > _FEW:
        notes = [f"{len(notes)} channels are left out: {', '.join(note.split()[1] for note in notes)}"]
    if len(parts) > 1:
        notes.append(f"has {len(parts)} parts; only {f'number {number + 1}' if number else 'the first'} is upscaled")
    if note := frame_note(part.data, part.display):
        notes.append(note)
    if not math.isclose(part.aspect, 1, rel_tol=1e-4):
        notes.append(f"its pixels are {part.aspect:g} times as wide as high, which is not kept")
    if not as_data and srgb_matrix(part.chromaticities) is not None:
        notes.append("its colours were converted from its own primaries to those of sRGB")
    if lost := [name for name in part.attributes if name not in _KNOWN]:
        notes.append(f"header entries are not kept: {', '.join(lost)}")
    return notes


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
