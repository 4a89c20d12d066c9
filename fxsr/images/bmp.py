"""BMP files, a few rows at a time, in both directions. libvips lacks them, and Pillow holds them whole.

Headers and compressions are those of Microsoft's "Bitmap Storage" and of OS/2 1.x and 2.x, without its Huffman coding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.images.metadata.values import Metadata, Resolution
from fxsr.images.rle import decode_rle
from fxsr.images.rows import Pixels, Rows, band_height, check_pixels
from fxsr.images.structure.base import damaged

_FILE_HEADER = 14
_CORE, _PLAIN, _OS2, _V5 = 12, 40, (16, 64), 124
_RGB, _RLE8, _RLE4, _FIELDS, _JPEG, _PNG, _ALPHA_FIELDS = range(7)
_DEPTHS = {_RGB: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _FIELDS: (16, 32), _ALPHA_FIELDS: (16, 32)}
_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
"""Where red, green, blue and alpha lie in a pixel if the file does not say."""
_MOST_RLE = 1 << 28
"""Largest number of pixels in compressed rows, which are held whole."""
_LARGEST = (1 << 32) - 1
"""Largest size of a BMP file in bytes: a field of its header holds it."""


@dataclass(frozen=True)
class _Header:
    """What a file says about its pixels."""

    width: int
    height: int
    top_down: bool
    depth: int
    """Bits of a pixel."""
    compression: int
    start: int
    """Where the pixels begin in the file."""
    masks: tuple[int, int, int, int]
    palette: NDArray[np.uint8]
    """(n, 3) RGB; empty unless pixels are indices."""
    per_metre: tuple[int, int]
    """Pixels per metre; 0 where the file does not say."""
    profile: bytes
    linked: bool
    """Whether the profile is another file."""

    @property
    def stride(self) -> int:
        """Bytes of a row, which end at a multiple of four."""
        return (self.width * self.depth + 31) // 32 * 4

    @property
    def grey(self) -> bool:
        return len(self.palette) > 0 and bool((self.palette == self.palette[:, :1]).all())

    @property
    def channels(self) -> int:
        return 1 if self.grey else 4 if self.masks[3] else 3

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 where a channel has more than eight bits."""
        return np.dtype(np.uint16 if max(mask.bit_count() for mask in self.masks) > 8 else np.uint8)


def open_bmp(path: Path, max_pixels: int | None = None) -> Rows:
    """Open a BMP file: palettes of 1 to 8 bits, 16 to 32 bits with or without masks, compressed rows (loaded whole), in
    either order of rows. A palette of greys gives a grey image.

    Raises:
        TooLargeError: it has more than `max_pixels` pixels.
        ImageError: it is damaged, or of a kind that is not read.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        try:
            header = _read_header(path, file)
        except struct.error:
            raise damaged(path, "it ends in its header") from None
        check_pixels(path, header.width, header.height, max_pixels)
        notes = ["its colour profile is another file, which is not read"] if header.linked else []
        if header.compression in (_RLE8, _RLE4):
            stored, lost = _decode_whole(path, file, header)
            notes += lost
            bands = _whole_bands(path, header, stored)
        else:
            missing = header.start + header.stride * (header.height - 1) - file.seek(0, 2)
            missing += (header.width * header.depth + 7) // 8
            if missing > 0:
                raise damaged(path, f"it ends too early: {missing} bytes of its pixels are missing")
            if header.depth == 32 and header.compression == _RGB and _fourth_byte_varies(file, header):
                notes.append("the fourth byte of its pixels, which the file does not call alpha, is left out")
            bands = _streamed_bands(path, header)
    metadata = Metadata(icc=header.profile, resolution=Resolution.per_metre(*header.per_metre))
    return Rows(header.height, header.width, header.channels, header.dtype, bands, metadata, tuple(notes))


def _read_header(path: Path, file: BinaryIO) -> _Header:
    start, size = struct.unpack_from("<II", file.read(_FILE_HEADER + 4), 10)
    head = file.read(max(0, min(size, _V5) - 4))
    if len(head) < min(size, _V5) - 4:
        raise struct.error
    compression = colours = 0
    per_metre = (0, 0)
    if size == _CORE:
        width, height, _, depth = struct.unpack_from("<HHHH", head)
    else:
        width, height, _, depth = struct.unpack_from("<iiHH", head)
    if size >= _PLAIN:
        compression, _, *per_metre_, colours, _ = struct.unpack_from("<IIiiII", head, 12)
        per_metre = (max(0, per_metre_[0]), max(0, per_metre_[1]))
    if width <= 0 or height == 0:
        raise damaged(path, f"it states a size of {width}x{abs(height)}")
    if compression in (_JPEG, _PNG):
        raise ImageError(f"{path}: is a BMP file around a JPEG or PNG, as for printers; convert it to PNG first")
    if depth not in _DEPTHS.get(compression, ()) or (size in _OS2 and compression > _RLE4):
        raise ImageError(
            f"{path}: BMP with {depth} bits per pixel and compression {compression} can't be read; convert it to PNG"
        )
    masks, after = (0, 0, 0, 0), _FILE_HEADER + size
    if depth in _MASKS:
        masks = _MASKS[depth]
        if compression in (_FIELDS, _ALPHA_FIELDS):
            count = 4 if compression == _ALPHA_FIELDS or size >= 56 else 3
            if size < 52:
                file.seek(after)
                head += file.read(4 * count)
                after += 4 * count
            masks = (*struct.unpack_from(f"<{count}I", head, 36), 0)[:4]
        if any(not _is_run(mask) for mask in masks) or not all(masks[:3]):
            raise damaged(path, f"its masks of colours are {', '.join(f'{mask:#x}' for mask in masks)}")
    entry = 3 if size == _CORE else 4
    count = min(colours or 1 << depth, 1 << depth, max(0, start - after) // entry) if depth <= 8 else 0
    file.seek(after)
    table = file.read(count * entry)
    if (depth <= 8 and not count) or len(table) < count * entry:
        raise damaged(path, "it has no palette")
    palette = np.frombuffer(table, np.uint8).reshape(-1, entry)[:, 2::-1]
    profile, linked = _read_profile(file, head) if size >= _V5 else (b"", False)
    top_down = height < 0
    return _Header(width, abs(height), top_down, depth, compression, start, masks, palette, per_metre, profile, linked)


def _is_run(mask: int) -> bool:
    """Whether the ones of a mask adjoin, and are at most 16."""
    ones = mask // (mask & -mask) if mask else 0
    return ones & (ones + 1) == 0 and mask.bit_count() <= 16


def _read_profile(file: BinaryIO, head: bytes) -> tuple[bytes, bool]:
    """The ICC profile of a version 5 header, and whether it is another file."""
    kind = head[52:56]
    at, size = struct.unpack_from("<II", head, 108)
    if kind == b"DEBM":  # PROFILE_EMBEDDED, "MBED" as a number
        file.seek(_FILE_HEADER + at)
        return file.read(size), False
    return b"", kind == b"KNIL"


def _streamed_bands(path: Path, header: _Header) -> Iterator[Pixels]:
    band = band_height(header.width, header.channels, header.dtype)
    with path.open("rb") as file:
        for top in range(0, header.height, band):
            stop = min(top + band, header.height)
            yield _colours(path, header, _stored(path, file, header, top, stop))


def _stored(path: Path, file: BinaryIO, header: _Header, top: int, stop: int) -> NDArray[np.uint8]:
    """The bytes of rows from `top` up to `stop`, (h, bytes), from top to bottom."""
    first = top if header.top_down else header.height - stop
    size = (stop - top) * header.stride
    file.seek(header.start + first * header.stride)
    data = file.read(size)
    used = size - header.stride + (header.width * header.depth + 7) // 8
    if len(data) < used:
        raise damaged(path, "it became shorter")
    rows = np.frombuffer(data.ljust(size, b"\0"), np.uint8).reshape(stop - top, header.stride)
    return rows if header.top_down else rows[::-1]


def _fourth_byte_varies(file: BinaryIO, header: _Header) -> bool:
    """Whether the unused byte of 32-bit pixels holds more than one value."""
    file.seek(header.start)
    found: set[int] = set()
    left = header.stride * header.height
    while left > 0 and len(found) < 2 and (data := file.read(min(left, 1 << 22))):
        found |= {*np.unique(np.frombuffer(data, np.uint8)[3::4]).tolist()}
        left -= len(data)
    return len(found) > 1


def _decode_whole(path: Path, file: BinaryIO, header: _Header) -> tuple[NDArray[np.uint8], list[str]]:
    """The indices of compressed rows, (H, W), from top to bottom, and notes."""
    if header.width * header.height > _MOST_RLE:
        raise ImageError(f"{path}: compressed BMP of more than {_MOST_RLE} pixels; convert it to PNG first")
    file.seek(header.start)
    indices, undefined, whole = decode_rle(file.read(), header.width, header.height, header.depth)
    if not whole:
        raise damaged(path, "it ends too early: rows are missing")
    notes = [f"leaves {undefined} pixels undefined; they get the first colour of its palette"] if undefined else []
    return (indices if header.top_down else indices[::-1]), notes


def _whole_bands(path: Path, header: _Header, indices: NDArray[np.uint8]) -> Iterator[Pixels]:
    band = band_height(header.width, header.channels, header.dtype)
    for top in range(0, header.height, band):
        yield _look_up(path, header, indices[top : top + band])


def _colours(path: Path, header: _Header, rows: NDArray[np.uint8]) -> Pixels:
    """Bytes of rows to (h, W, channels)."""
    width, depth = header.width, header.depth
    if depth <= 8:
        bits = np.unpackbits(rows, 1)[:, : width * depth].reshape(len(rows), width, depth)
        return _look_up(path, header, np.packbits(bits, 2)[..., 0] >> np.uint8(8 - depth))
    if depth == 24:
        return np.ascontiguousarray(rows[:, : 3 * width].reshape(len(rows), width, 3)[..., ::-1])
    words = np.ascontiguousarray(rows[:, : width * depth // 8]).view(f"<u{depth // 8}")
    peak = np.iinfo(header.dtype).max
    planes = []
    for mask in header.masks[: header.channels]:
        shift = (mask & -mask).bit_length() - 1
        plane = (words & np.array(mask, words.dtype)) >> np.array(shift, words.dtype)
        planes.append((plane * (peak / (mask >> shift)) + 0.5).astype(header.dtype))
    return np.stack(planes, 2)


def _look_up(path: Path, header: _Header, indices: NDArray[np.uint8]) -> Pixels:
    if indices.max() >= len(header.palette):
        raise damaged(path, f"its pixels name more than the {len(header.palette)} colours of its palette")
    colours: Pixels = header.palette[:, : header.channels][indices]
    return colours


def bmp_fits(width: int, height: int) -> bool:
    """Whether a BMP file can hold an RGB image of this size."""
    return _FILE_HEADER + _PLAIN + (3 * width + 3) // 4 * 4 * height <= _LARGEST


def write_bmp(path: Path, height: int, width: int, channels: int, bands: Iterator[Pixels]) -> None:
    """Write (h, width, channels) bands of uint8, grey or RGB, from top to bottom. BMP files begin with the last row, so
    each band is written to its place from the end. Its resolution is unknown.
    """
    depth = 8 * channels
    palette = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(-1, 4) * np.array([1, 1, 1, 0], np.uint8)
    table = palette.tobytes() if channels == 1 else b""
    stride = (width * depth + 31) // 32 * 4
    start = _FILE_HEADER + _PLAIN + len(table)
    with path.open("wb") as file:
        file.write(struct.pack("<2sIHHI", b"BM", start + stride * height, 0, 0, start))
        sizes = struct.pack("<IiiHHIIiiII", _PLAIN, width, height, 1, depth, _RGB, stride * height, 0, 0, 0, 0)
        file.write(sizes + table)
        bottom = height
        for band in bands:
            lines = np.zeros((len(band), stride), np.uint8)
            lines[:, : width * channels] = band[::-1, :, ::-1].reshape(len(band), -1)
            bottom -= len(band)
            file.seek(start + stride * bottom)
            file.write(lines.data)
