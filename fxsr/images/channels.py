"""What the channels of a decoded image mean, and their reduction to grey or RGB, each with or without alpha.

CMYK, Lab and XYZ become sRGB. Only a channel that the file calls alpha is taken for alpha; others are left out, with a
note. Samples whose black and white are unknown are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import ImageError
from fxsr.images.curves import encode_srgb
from fxsr.images.icc import PROFILE, profile_space
from fxsr.images.rows import Pixels
from fxsr.images.tiff_layout import ExtraSample, Photometric, SampleFormat, TiffLayout

if TYPE_CHECKING:
    import pyvips

_PLAIN = ("uchar", "ushort", "float")
_PEAKS = {"uchar": 255, "ushort": 65535, "uint": 4294967295, "float": 1}
_BITS = (1, 2, 4, 8, 16, 32, 64)
_LAB = (Photometric.CIELAB, Photometric.ICCLAB)
_LIGHT = (Photometric.LOG_L, Photometric.LOG_LUV)


@dataclass(frozen=True)
class Channels:
    """An image whose channels are 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha)."""

    image: pyvips.Image
    """Of 8 or 16 bits, or floats."""
    notes: list[str] = field(default_factory=list)
    finish: Callable[[Pixels], Pixels] | None = None
    """What is left to do with each band of its rows."""
    bounded: bool = False
    """Whether its floats should be near 0..1: nothing else says what they mean."""


def check_layout(path: Path, layout: TiffLayout) -> None:
    """Refuse samples that can't be upscaled.

    Raises:
        ImageError: says what they are.
    """
    if not layout.colours:
        names = {Photometric.CFA: "raw data of a camera", Photometric.LINEAR_RAW: "raw data of a camera"}
        name = names.get(Photometric(layout.photometric)) if layout.photometric in set(Photometric) else None
        kind = name or f"colours of kind {layout.photometric} (PhotometricInterpretation)"
        raise ImageError(f"{path}: holds {kind}, which can't be upscaled; convert it to RGB first")
    if layout.samples < layout.colours or (layout.photometric == Photometric.SEPARATED and not layout.cmyk):
        raise ImageError(
            f"{path}: has {layout.samples} channels of inks or colours that are not known; convert it to RGB"
        )
    if layout.format in (SampleFormat.COMPLEX, SampleFormat.COMPLEX_INTEGER):
        raise ImageError(f"{path}: holds complex numbers, which can't be upscaled; convert it to 16 bit first")
    wide = layout.bits == max(_BITS) and not layout.halved
    if layout.bits not in _BITS or wide:
        raise ImageError(
            f"{path}: has samples of {layout.bits} bits, which can't be read; convert it to 8 or 16 bit first"
        )
    if ExtraSample.ASSOCIATED in layout.extras and layout.photometric in (*_LAB, Photometric.WHITE_IS_ZERO):
        raise ImageError(
            f"{path}: its Lab or inverted grey is multiplied by alpha, which can't be undone; convert it to RGB"
        )
    unknown = [kind for kind in layout.extras if kind not in (ExtraSample.ASSOCIATED, ExtraSample.UNASSOCIATED)]
    if layout.colours == 1 and len(unknown) > 1:
        raise ImageError(
            f"{path}: has {layout.samples} grey channels, and nothing says which colours they are; "
            "convert it to RGB, or take one of them"
        )


def restore_doubles(image: pyvips.Image, layout: TiffLayout) -> pyvips.Image:
    """The image of floats that was read as halves of 64-bit samples; see `TiffLayout.halved`."""
    count = image.bands
    halves = image.bandfold(factor=2)
    if not layout.little:  # each half was turned, but not their order
        order = [half ^ 1 for half in range(2 * count)]
        halves = halves[order[0]].bandjoin([halves[band] for band in order[1:]])
    return halves.copy(format="double", bands=count, interpretation="b-w" if count < 3 else "scrgb").cast("float")


def settle_channels(path: Path, image: pyvips.Image, layout: TiffLayout | None, as_data: bool) -> Channels:
    """Reduce a decoded image to channels whose meaning is known.

    Args:
        layout: what a TIFF file says of its samples, which `check_layout` accepts; None for other formats.
        as_data: the image holds numbers, not light: they are not scaled.

    Raises:
        ImageError: what is black or white is not known.
    """
    notes: list[str] = []
    if layout is not None:
        image, notes = _chosen(image, layout)
    if image.interpretation == "cmyk":
        converted, said = _cmyk_to_srgb(image)
        return Channels(converted, notes + said)
    if layout is not None and layout.photometric in _LAB:
        return Channels(_lab_to_srgb(image, layout.photometric == Photometric.ICCLAB), notes)
    if layout is not None and layout.photometric in _LIGHT:
        return Channels(_light(image), notes, encode_srgb)
    if as_data:
        return Channels(image if image.format in _PLAIN else image.cast("float"), notes)
    bounded = image.format in ("float", "double") and not image.get_typeof(PROFILE)
    inverted = layout is not None and layout.photometric == Photometric.WHITE_IS_ZERO
    if layout is not None and layout.stated_range and (bounded or image.format in ("char", "short", "int", "uint")):
        low, high = layout.stated_range
        if inverted and image.format == "uint":  # libvips has inverted them in their whole range
            image = image.cast("double") * -1 + _PEAKS["uint"]
        image = ((image - low) / (high - low)).cast("float")
        notes.append(f"the file says that {low:g} is black and {high:g} white: scaled to 0..1")
    elif image.format == "uint":
        image = (image / _PEAKS["uint"]).cast("float")
        inverted = False
        notes.append(f"integers of 32 bits are read as floats, where {_PEAKS['uint']} is white")
    elif image.format not in _PLAIN:
        raise ImageError(
            f"{path}: holds signed or wide numbers ({image.format}), and nothing says which are black and white; "
            "convert it to 8 or 16 bit, or to floats in 0..1"
        )
    if inverted and image.format == "float":
        image = image[0] * -1 + 1 if image.bands == 1 else (image[0] * -1 + 1).bandjoin(image[1])
        image = image.cast("float")
    return Channels(image, notes, bounded=bounded)


def unpremultiply(image: pyvips.Image) -> pyvips.Image:
    """The image with its colours divided by its alpha, which is the last channel. Colours under alpha 0 become 0."""
    count, peak = image.bands - 1, _PEAKS[image.format]
    colours = image[:count] * peak / image[count]
    whole = image.format != "float"
    colours = (colours + 0.5 if whole else colours).cast(image.format)
    return colours.bandjoin(image[count]).copy(interpretation=image.interpretation)


def _chosen(image: pyvips.Image, layout: TiffLayout) -> tuple[pyvips.Image, list[str]]:
    """The colours and the alpha; notes name other channels."""
    kinds = layout.extras[: image.bands - 1]
    count = image.bands - len(kinds)
    alphas = [number for number, kind in enumerate(kinds) if kind in (1, 2)]
    left_out = [count + number for number in range(len(kinds)) if number not in alphas[:1]]
    notes = []
    if left_out:
        names = ", ".join(str(band + 1) for band in left_out)
        one = len(left_out) == 1
        notes.append(
            f"channel{'' if one else 's'} {names} of {image.bands} {'is' if one else 'are'} neither colour nor alpha "
            "by what the file says (ExtraSamples): left out"
        )
    colours = image[:count].copy(interpretation=image.interpretation) if kinds else image
    if not alphas:
        return colours, notes
    alpha = image[count + alphas[0]]
    joined = colours.bandjoin(alpha).copy(interpretation=image.interpretation)
    return unpremultiply(joined) if kinds[alphas[0]] == ExtraSample.ASSOCIATED else joined, notes


def _cmyk_to_srgb(image: pyvips.Image) -> tuple[pyvips.Image, list[str]]:
    """CMYK by its profile, or else by that of a usual press, as sRGB of 8 bits, or 16 for deeper pictures."""
    notes = []
    if not image.get_typeof(PROFILE):
        notes.append("has no ICC profile for its CMYK: converted as that of a usual press")
    elif (space := profile_space(bytes(image.get(PROFILE)))) != "CMYK":
        why = f"is for {space}, not for CMYK" if space else "can't be read"
        notes.append(f"its ICC profile {why}: left out, and colours are converted as those of a usual press")
        image = image.copy()
        image.remove(PROFILE)
    if image.format not in ("uchar", "ushort"):
        image = (image * (65535 / _PEAKS[image.format]) + 0.5).cast("ushort").copy(interpretation="cmyk")
    depth = 16 if image.format == "ushort" else 8
    colours = image[:4].copy(interpretation="cmyk")
    colours = colours.icc_transform("srgb", embedded=True, input_profile="cmyk", intent="relative", depth=depth)
    colours.remove(PROFILE)
    return _with_alpha(colours, image, 4), notes


def _lab_to_srgb(image: pyvips.Image, offset: bool) -> pyvips.Image:
    """Samples of CIELab or ICCLab as sRGB of 8 bits, or 16 for deeper pictures. Their white is D50.

    Args:
        offset: a and b are stored with an offset, as in ICCLab (TIFF photometric 9), not signed, as in CIELab (8).
    """
    formats = {"char": "uchar", "short": "ushort"}
    image = image.copy(format=formats.get(image.format, image.format))
    deep = image.format != "uchar"
    light, *hues = (image[band] for band in range(3))
    if image.format == "uchar":
        light *= 100 / 255
        hues = [hue - 128 if offset else hue.copy(format="char") for hue in hues]
    elif image.format == "ushort":  # ICCLab of 16 bits: 100 is FF00 (ICC.1:1998-09, annex A)
        light *= 100 / (65280 if offset else 65535)
        hues = [(hue - 32768 if offset else hue.copy(format="short")) / 256 for hue in hues]
    lab = light.bandjoin(hues).cast("float").copy(interpretation="lab")
    lab.remove(PROFILE)
    colours = lab.icc_export(output_profile="srgb", depth=16 if deep else 8, intent="relative", pcs="lab")
    colours.remove(PROFILE)
    if image.format == "float" and image.bands == 4:
        image = (image * 65535 + 0.5).cast("ushort")
    return _with_alpha(colours, image, 3)


def _with_alpha(colours: pyvips.Image, image: pyvips.Image, channel: int) -> pyvips.Image:
    """The colours with that channel of the image as their alpha, if it has it."""
    if image.bands <= channel:
        return colours
    return colours.bandjoin(image[channel]).copy(interpretation=colours.interpretation)


def _light(image: pyvips.Image) -> pyvips.Image:
    """LogL and LogLuv, decoded as Y or XYZ in which the Y of white is 1, as linear light of sRGB."""
    if image.bands >= 3:
        return (image[:3] * 100).cast("float").copy(interpretation="xyz").colourspace("scrgb")
    return image[0].copy(interpretation="b-w")
