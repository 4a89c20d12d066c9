"""What a TIFF file says of its samples: type, colours, extra channels and range (TIFF 6.0 and Adobe's notes on it).

Only the first picture's directory is read, of classic TIFF and BigTIFF files. Pixels are decoded by libvips, which
takes some kinds of samples for others; `TiffLayout.patches` makes it give them as they are stored.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from fxsr.images.icc import Primaries
from fxsr.images.tiff_directory import LETTERS, RATIONAL, TEXT, read_directory, read_entry
from fxsr.images.tiff_directory import read_layout as open_directories

_WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _SAMPLES = 256, 258, 259, 262, 270, 277
_LOW, _HIGH, _PLANAR, _WHITE, _PREDICTOR, _PRIMARIES, _TILE_WIDTH = 280, 281, 284, 318, 317, 319, 322
_INK_SET, _EXTRA, _FORMAT, _SAMPLE_LOW, _SAMPLE_HIGH = 332, 338, 339, 340, 341
_WANTED = frozenset(
    {_WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _SAMPLES, _LOW, _HIGH, _PLANAR, _WHITE, _PREDICTOR}
    | {_PRIMARIES, _TILE_WIDTH, _INK_SET, _EXTRA, _FORMAT, _SAMPLE_LOW, _SAMPLE_HIGH}
)
_IMAGEJ = re.compile(r"\AImageJ=.*?^min=(\S+)$.*?^max=(\S+)$", re.DOTALL | re.MULTILINE)
"""The numbers that ImageJ shows as black and white, in its description."""
_MOST_VALUES = 1 << 16
_DOUBLE = 64


class Photometric(IntEnum):
    """How samples are to be understood (tag 262)."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    MASK = 4
    SEPARATED = 5
    YCBCR = 6
    CIELAB = 8
    ICCLAB = 9
    ITULAB = 10
    CFA = 32803
    LOG_L = 32844
    LOG_LUV = 32845
    LINEAR_RAW = 34892


class SampleFormat(IntEnum):
    """The type of samples (tag 339)."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3
    UNDEFINED = 4
    COMPLEX_INTEGER = 5
    COMPLEX = 6


class ExtraSample(IntEnum):
    """The meaning of a channel besides the colours (tag 338)."""

    UNSPECIFIED = 0
    ASSOCIATED = 1
    UNASSOCIATED = 2


_COLOURS = {
    Photometric.WHITE_IS_ZERO: 1,
    Photometric.BLACK_IS_ZERO: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.MASK: 1,
    Photometric.SEPARATED: 4,
    Photometric.YCBCR: 3,
    Photometric.CIELAB: 3,
    Photometric.ICCLAB: 3,
    Photometric.LOG_L: 1,
    Photometric.LOG_LUV: 3,
}
"""Channels of colour, of those kinds of pictures that can be upscaled."""


@dataclass(frozen=True)
class _Entry:
    values: tuple[float, ...]
    at: int
    """Offset of the values in the file."""
    layout: str
    """For `struct`, byte order included."""
    text: str = ""


@dataclass(frozen=True)
class TiffLayout:
    """The samples of a TIFF file's first picture."""

    photometric: int
    samples: int
    """Number of channels."""
    bits: int
    """Of each sample."""
    format: int
    """See `SampleFormat`."""
    extras: tuple[int, ...]
    """The kind of each channel after the colours; see `ExtraSample`."""
    cmyk: bool
    """Whether separated inks are cyan, magenta, yellow and black."""
    stated_range: tuple[float, float] | None
    """The numbers that stand for black and white, if the file states whole ones above 1."""
    primaries: Primaries | None
    little: bool
    """Whether numbers are stored with their lowest byte first."""
    patches: Mapping[int, bytes]
    """Bytes to replace, by their offset, before libvips reads the file; see `restore`."""

    @property
    def colours(self) -> int:
        """Number of channels of colour; 0 if pictures of this kind can't be upscaled."""
        known = self.photometric in set(Photometric)
        return _COLOURS.get(Photometric(self.photometric), 0) if known else 0

    @property
    def halved(self) -> bool:
        """Whether the patches make libvips read each sample of 64 bits as two of 32 bits."""
        return self.bits == _DOUBLE and bool(self.patches)


def read_layout(path: Path) -> TiffLayout | None:
    """What a TIFF file says of its samples; None if it is no TIFF file, or its directory is damaged.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        try:
            entries = _directory(file)
        except (struct.error, ValueError, OverflowError):
            return None
    if entries is None:
        return None
    return _layout(entries)


def _layout(entries: Mapping[int, _Entry]) -> TiffLayout:
    def value(tag: int, default: int) -> int:
        return int(entries[tag].values[0]) if tag in entries and entries[tag].values else default

    samples = value(_SAMPLES, 1)
    photometric = value(_PHOTOMETRIC, Photometric.BLACK_IS_ZERO)
    kind = value(_FORMAT, SampleFormat.UNSIGNED)
    bits = value(_BITS, 1)
    colours = _COLOURS.get(Photometric(photometric), samples) if photometric in set(Photometric) else samples
    stated = tuple(int(number) for number in entries[_EXTRA].values) if _EXTRA in entries else ()
    count = max(0, samples - colours)
    extras = (stated + (ExtraSample.UNSPECIFIED,) * count)[:count]
    patches: dict[int, bytes] = {}
    if photometric == Photometric.CIELAB:  # libvips gives the samples of ICCLab as they are
        patches = _patch(entries[_PHOTOMETRIC], Photometric.ICCLAB)
    if _EXTRA in entries and ExtraSample.ASSOCIATED in stated:  # versions of libvips differ in what they do with it
        patches |= _patch(entries[_EXTRA], ExtraSample.UNASSOCIATED)
    contiguous = samples == 1 or value(_PLANAR, 1) == 1
    wide = value(_WIDTH, 0) > 32767  # twice that may not fit into the entry
    if (bits, kind) == (_DOUBLE, SampleFormat.FLOAT) and contiguous and value(_PREDICTOR, 1) == 1 and not wide:
        patches |= _patch(entries[_BITS], 32) | _patch(entries[_FORMAT], SampleFormat.UNSIGNED)
        # libvips inverts integers whose white is 0
        patches |= _patch(entries[_PHOTOMETRIC], max(photometric, Photometric.BLACK_IS_ZERO))
        for tag in (_WIDTH, _TILE_WIDTH):
            if tag in entries:
                patches |= _patch(entries[tag], 2 * value(tag, 0))
    return TiffLayout(
        photometric,
        samples,
        bits,
        kind,
        extras,
        value(_INK_SET, 1) == 1 and samples >= _COLOURS[Photometric.SEPARATED],
        _stated_range(entries),
        _stated_primaries(entries),
        entries[_SAMPLES].layout.startswith("<") if _SAMPLES in entries else True,
        patches,
    )


def _patch(entry: _Entry, value: int) -> dict[int, bytes]:
    return {entry.at: struct.pack(entry.layout, *(value for _ in entry.values))}


def _stated_range(entries: Mapping[int, _Entry]) -> tuple[float, float] | None:
    for low, high in ((_SAMPLE_LOW, _SAMPLE_HIGH), (_LOW, _HIGH)):
        if high in entries and entries[high].values:
            least = min(entries[low].values) if low in entries and entries[low].values else 0
            return _whole(least, max(entries[high].values))
    found = _IMAGEJ.match(entries[_DESCRIPTION].text) if _DESCRIPTION in entries else None
    try:
        return _whole(float(found[1]), float(found[2])) if found else None
    except ValueError:
        return None


def _whole(low: float, high: float) -> tuple[float, float] | None:
    """Limits of numbers that are counted; others are only what happens to occur in the picture."""
    return (low, high) if low % 1 == high % 1 == 0 and high > max(low, 1) else None  # also false for infinity


def _stated_primaries(entries: Mapping[int, _Entry]) -> Primaries | None:
    if _PRIMARIES not in entries or len(entries[_PRIMARIES].values) != 6:
        return None
    red_x, red_y, green_x, green_y, blue_x, blue_y = entries[_PRIMARIES].values
    points = (red_x, red_y), (green_x, green_y), (blue_x, blue_y)
    if _WHITE in entries and len(entries[_WHITE].values) == 2:
        white_x, white_y = entries[_WHITE].values
        return Primaries(*points, (white_x, white_y))
    return Primaries(*points)


def _directory(file: BinaryIO) -> dict[int, _Entry] | None:
    """The first directory's entries of those tags that are wanted here; None if it is no TIFF file.

    Raises:
        ValueError: there is no directory.
    """
    opened = open_directories(file)
    if opened is None:
        return None
    layout, first = opened
    found: dict[int, _Entry] = {}
    for tag, place in read_directory(file, layout, first).places.items():
        if tag not in _WANTED or place.count > _MOST_VALUES:
            continue
        entry = read_entry(file, layout, place)
        if place.kind == TEXT:
            found[tag] = _Entry((), place.value, "", entry.data.decode("latin-1"))
        elif place.kind == RATIONAL:
            pairs = zip(*[iter(entry.numbers())] * 2, strict=True)
            values = tuple(above / below if below else 0.0 for above, below in pairs)
            found[tag] = _Entry(values, place.value, f"{layout.order}{2 * place.count}I")
        elif letter := LETTERS.get(place.kind):
            found[tag] = _Entry(entry.numbers(), place.value, f"{layout.order}{place.count}{letter}")
    return found
