"""The style maps that photos make by themselves, by name: `fxsr tmap NAME`, `fxsr run --t-map auto:NAME`, and the same
for the server and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fxsr.errors import MissingExtraError, UsageError, foreign_name
from fxsr.images.image import Pixels, resize_plane
from fxsr.images.reading import open_rows
from fxsr.images.rows import Rows, reduced_whole
from fxsr.styles.automatic import mtcnn
from fxsr.styles.automatic import text as texts
from fxsr.styles.automatic.detector import is_installed
from fxsr.styles.automatic.faces import faces
from fxsr.styles.automatic.focus import focus
from fxsr.styles.maps import Plane
from fxsr.styles.style_map import StyleMap
from fxsr.styles.texture import texture

_LARGEST = 2048
"""Longest side of what maps are made from; larger photos are reduced by a whole number first."""


@dataclass(frozen=True)
class AutomaticMap:
    """A kind of map that a photo makes by itself."""

    about: str
    """One sentence for users."""
    make: Callable[[Pixels], Plane]
    """From (H, W, C) pixels to t, (h, w) in 0..1, h and w at most H and W."""
    package: str | None = None
    """Import name of the package that it needs."""
    extra: str | None = None
    """The extra that installs it."""


def auto(image: Pixels) -> Plane:
    """A proposal: crisp on texture in focus, soft where the photo is, faithful on faces, skin, text and line art.

    Faces and text are left out where their packages are not installed; see `missing`.
    """
    sharp, fine = focus(image), texture(image)
    height, width = sharp.shape
    t: Plane = np.float32(0.3) + np.float32(0.6) * np.maximum(
        resize_plane(fine, height, width), np.float32(0.6) * sharp
    )
    absent = missing()
    for name in ("faces", "text"):
        if name not in absent:
            t = np.minimum(t, resize_plane(AUTOMATIC_MAPS[name].make(image), height, width))
    return t


AUTOMATIC_MAPS: Mapping[str, AutomaticMap] = MappingProxyType(
    {
        "auto": AutomaticMap("A proposal from all of the others that are installed.", auto),
        "faces": AutomaticMap("Faces and skin stay faithful.", faces, mtcnn.PACKAGE, mtcnn.EXTRA),
        "text": AutomaticMap("Text and line art stay faithful.", texts.text, texts.PACKAGE, texts.EXTRA),
        "focus": AutomaticMap("The background that is out of focus stays soft.", focus),
        "texture": AutomaticMap("Only texture gets crisp.", texture),
    }
)


def missing() -> tuple[str, ...]:
    """Names of maps whose packages are not installed."""
    return tuple(name for name, kind in AUTOMATIC_MAPS.items() if kind.package and not is_installed(kind.package))


@dataclass(frozen=True)
class AutomaticStyle:
    """The choice of one or more automatic maps; where several overlap, the smallest t holds."""

    names: tuple[str, ...]
    """Keys of `AUTOMATIC_MAPS`."""

    @staticmethod
    def parse(words: str) -> AutomaticStyle | None:
        """From `auto`, `auto:faces` or `auto:faces+focus`; None for anything else, such as a file's name.

        Raises:
            UsageError: it begins with `auto:`, but names no map.
        """
        if words == "auto":
            return AutomaticStyle(("auto",))
        if not words.startswith("auto:"):
            return None
        names = tuple(dict.fromkeys(words.removeprefix("auto:").split("+")))
        for name in names:
            if name not in AUTOMATIC_MAPS:
                known = ", ".join(AUTOMATIC_MAPS)
                raise UsageError(
                    f"{foreign_name(words)}: {foreign_name(name)!r} is no automatic style map; choose of {known}, "
                    "joined by +"
                )
        return AutomaticStyle(names)

    def check_installed(self) -> None:
        """Find out whether all maps that are named can be made.

        Raises:
            MissingExtraError: a package is not installed.
        """
        absent = missing()
        for name in self.names:
            kind = AUTOMATIC_MAPS[name]
            if name in absent and kind.package and kind.extra:
                raise MissingExtraError(kind.package, kind.extra)

    def of(self, image: Pixels) -> StyleMap:
        """The map of a photo, (H, W, C).

        Raises:
            MissingExtraError: a package is not installed.
        """
        planes = [AUTOMATIC_MAPS[name].make(image) for name in self.names]
        height, width = planes[0].shape
        return StyleMap(np.minimum.reduce([resize_plane(plane, height, width) for plane in planes]))

    def read(self, photo: Path, max_pixels: int | None = None) -> StyleMap:
        """The map of a photo in a file, which is reduced while it is read if it is large.

        Raises:
            ImageError: the photo can't be read.
            MissingExtraError: a package is not installed.
        """
        return self.of_rows(open_rows(photo, max_pixels))

    def of_rows(self, rows: Rows) -> StyleMap:
        """The map of a photo, which is reduced first if it is large; uses up its bands.

        Raises:
            MissingExtraError: a package is not installed.
        """
        return self.of(reduced_whole(rows, -(-max(rows.height, rows.width) // _LARGEST)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, for the user."""
        if "auto" not in self.names or not (absent := missing()):
            return ()
        return (f"the style map does not look for {' and '.join(absent)}: their packages are not installed",)

    def __str__(self) -> str:
        return "auto" if self.names == ("auto",) else f"auto:{'+'.join(self.names)}"
