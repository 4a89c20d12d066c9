"""The structure of a file of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fxsr.images.kinds import Kind
from fxsr.images.structure.base import Structure
from fxsr.images.structure.boxes import examine_boxes
from fxsr.images.structure.gif import examine_gif
from fxsr.images.structure.jpeg import examine_jpeg
from fxsr.images.structure.png import examine_png
from fxsr.images.structure.tiff import examine_tiff
from fxsr.images.structure.webp import examine_webp

_EXAMINERS: Mapping[Kind, Callable[[Path], Structure]] = {
    Kind.PNG: examine_png,
    Kind.JPEG: examine_jpeg,
    Kind.WEBP: examine_webp,
    Kind.TIFF: examine_tiff,
    Kind.GIF: examine_gif,
    Kind.HEIC: examine_boxes,
    Kind.AVIF: examine_boxes,
}


def examine(path: Path, kind: Kind) -> Structure:
    """Find out whether a file of a kind is whole, without decoding it. BMP and EXR files are checked by their readers.

    Raises:
        ImageError: pixels are missing, or the file holds none that can be read.
        OSError: it can't be read.
    """
    return _EXAMINERS[kind](path)
