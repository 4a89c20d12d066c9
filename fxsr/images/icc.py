"""ICC profiles: which pictures a profile fits, profiles made from primaries, and conversion to sRGB with LittleCMS.

Formats follow ICC.1:2022 (profile version 4.4), https://www.color.org/specification/ICC.1-2022-05.pdf.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyvips

PROFILE = "icc-profile-data"
"""libvips' name for a picture's profile."""
_GREY, _RGB = "GRAY", "RGB"
_MODES = {_GREY: "L", _RGB: "RGB", "CMYK": "CMYK", "Lab": "LAB"}
"""Pillow's names for the colour spaces of profiles, by the names in their headers."""
_D50 = (0.9642, 1.0, 0.8249)
"""The white of the profile connection space, as XYZ (ICC.1 section 7.2.16)."""
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""From XYZ to the cone responses in which whites are adapted (ICC.1 annex E)."""
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

Point = tuple[float, float]


@dataclass(frozen=True)
class Primaries:
    """The colours that red, green, blue and white stand for, as CIE 1931 x and y."""

    red: Point
    green: Point
    blue: Point
    white: Point = (0.3127, 0.3290)

    def near(self, other: Primaries) -> bool:
        """Whether they agree as well as files that round them do."""
        return bool(np.abs(self._array() - other._array()).max() < 0.003)

    def to_xyz(self) -> NDArray[np.float64]:
        """The matrix from linear RGB to XYZ, where the Y of white is 1.

        Raises:
            ValueError: the points are no triangle around the white.
        """
        points = self._array()
        if not (np.isfinite(points).all() and (points[:, 1] > 0).all()):
            raise ValueError("chromaticities with y = 0")
        columns = np.array([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
        try:
            amounts = np.linalg.solve(columns[:, :3], columns[:, 3])
        except np.linalg.LinAlgError as error:
            raise ValueError("primaries that lie on one line") from error
        if not (amounts > 0).all():
            raise ValueError("a white that lies outside the primaries")
        return np.asarray(columns[:, :3] * amounts, np.float64)

    def _array(self) -> NDArray[np.float64]:
        return np.array([self.red, self.green, self.blue, self.white], np.float64)


SRGB = Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
"""Primaries of sRGB and BT.709."""


def make_profile(name: str, primaries: Primaries, gamma: float | None) -> bytes:
    """A display profile of three primaries and one curve (ICC.1 section 8.3.3).

    Args:
        name: its description, in ASCII.
        gamma: exponent from stored values to light; None for the curve of sRGB.

    Raises:
        ValueError: the primaries are none.
    """
    matrix = primaries.to_xyz()
    white = matrix.sum(1)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    columns = (adapt @ matrix).T
    values = _SRGB_CURVE if gamma is None else (gamma,)
    curve = b"para" + struct.pack(">IHH", 0, 0 if gamma is not None else 3, 0) + _fixed(values)
    text = name.encode("utf-16-be")
    words = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
    tags = {
        b"desc": words,
        b"cprt": b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 6, 28) + "CC0".encode("utf-16-be"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32" + bytes(4) + _fixed(adapt.ravel()),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = b"", b""
    places: dict[bytes, int] = {}
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += tag + struct.pack(">II", places[data], len(data))
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s12x4s", size, bytes(4), 0x04400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head += bytes(28) + _fixed(_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(values: Any) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _xyz(values: Any) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def profile_space(profile: bytes) -> str | None:
    """The colours that a profile is for, such as `RGB`, `GRAY`, `CMYK`; None if LittleCMS can't use it."""
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space in _MODES:
            ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), _MODES[space], "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return space


def fit_profile(image: pyvips.Image) -> tuple[pyvips.Image, list[str]]:
    """A grey or RGB image whose profile fits it.

    A grey image with a profile for RGB is converted to greys of sRGB: no format keeps that pair. A profile that can't
    be used, or that is for other colours, is removed. Notes say so.
    """
    if not image.get_typeof(PROFILE):
        return image, []
    space = profile_space(bytes(image.get(PROFILE)))
    grey = image.bands < 3
    if space == (_GREY if grey else _RGB):
        return image, []
    if space == _RGB:
        return to_srgb(image), ["its ICC profile is for RGB: its greys are converted to sRGB"]
    fault = f"is for {space}, not for {'grey' if grey else 'RGB'}" if space else "can't be read"
    image = image.copy()
    image.remove(PROFILE)
    return image, [f"its ICC profile {fault}: left out, and colours are taken as sRGB"]


def to_srgb(image: pyvips.Image) -> pyvips.Image:
    """A grey or RGB image, with or without alpha, converted to sRGB by its profile, which is then removed.

    Relative colorimetric; colours outside sRGB are cut. Floats are computed in 16 bits, within 0..1. Grey stays grey.

    Args:
        image: with a profile that `fit_profile` accepts or converts.
    """
    if not image.get_typeof(PROFILE):
        return image
    profile = image.get(PROFILE)
    grey, floats = image.bands < 3, image.format in ("float", "double")
    count = 1 if grey else 3
    colours, rest = image[:count], image[count:] if image.bands > count else None
    if floats:
        colours = (colours * 65535 + 0.5).cast("ushort")
    deep = colours.format == "ushort"
    if grey and profile_space(bytes(profile)) == _RGB:
        colours = colours.bandjoin([colours, colours])
    grey_kind, rgb_kind = ("grey16", "rgb16") if deep else ("b-w", "srgb")
    import pyvips

    colours = colours.copy(interpretation=rgb_kind if colours.bands == 3 else grey_kind)
    colours.set_type(pyvips.GValue.blob_type, PROFILE, profile)
    colours = colours.icc_transform("srgb", embedded=True, intent="relative", depth=16 if deep else 8)
    if grey:
        colours = colours[1]
    if floats:
        colours = (colours / 65535).cast("float")
    kind = ("b-w" if grey else "scrgb") if floats else grey_kind if grey else rgb_kind
    colours = (colours.bandjoin(rest) if rest is not None else colours).copy(interpretation=kind)
    colours.remove(PROFILE)
    return colours
