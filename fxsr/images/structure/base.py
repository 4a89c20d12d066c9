"""What the structure of a file says about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import ImageError
from fxsr.images.source import Part, Span

LONGEST = 10_000_000
"""The longest side that libvips takes, in pixels; beyond it, GLib prints a line of its own."""


@dataclass(frozen=True)
class Scan:
    """All pixels of a JPEG file in one pass, which are decoded row by row."""

    span: Span
    """Where they lie in the parts."""
    height: int
    below: int | None
    """The line of a further row of blocks that the parts promise; None where they promise the image's height."""


@dataclass(frozen=True)
class Structure:
    """What was found in a file, besides its pixels."""

    notes: tuple[str, ...] = ()
    """What is missing or is not read, one line each."""
    parts: tuple[Part, ...] = ()
    """What the decoder is to see; empty: the whole file."""
    scan: Scan | None = None
    """The pixels of a JPEG file that holds them in one pass."""
    lossless: bool = False
    """Whether pixels are stored exactly, in a format that may also lose."""
    check: Callable[[], None] = lambda: None
    """Looks for damage that the decoder doesn't tell of, and raises an ImageError. It takes as long as decoding."""


def damaged(path: Path, why: str) -> ImageError:
    """The error for a file that is not whole."""
    return ImageError(f"{path}: not an image that can be read, or a damaged one ({why})")


def file_size(file: BinaryIO) -> int:
    """The size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """That many bytes.

    Raises:
        EOFError: the file has fewer.
    """
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def append_span(parts: list[Part], start: int, stop: int) -> None:
    """Append bytes of the file to the parts, as one span with those before them where they adjoin."""
    last = parts[-1] if parts else None
    if isinstance(last, Span) and last.stop == start:
        parts[-1] = Span(last.start, stop)
    else:
        parts.append(Span(start, stop))
