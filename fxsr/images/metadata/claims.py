"""Keeps metadata true: what it says of pixels changes when those are turned, or resampled, or the rest of a file goes.

Source: Exif 3.0; XMP specification part 2; Google's Ultra HDR, Motion Photo, Depthmap and Photo Sphere XMP formats;
Metadata Working Group guidelines 2.0 (regions).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from fxsr.images.metadata import exif, geo, xmp
from fxsr.images.metadata.values import Metadata
from fxsr.images.metadata.xmp import Packet

_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_GOOGLE = "http://ns.google.com/photos/1.0/"
_CAMERA, _PANORAMA = f"{_GOOGLE}camera/ ", f"{_GOOGLE}panorama/ "
_SIZE = "http://ns.adobe.com/xap/1.0/sType/Dimensions# "
_XMP_WIDTHS = (f"{_TIFF} ImageWidth", f"{_EXIF} PixelXDimension")
_XMP_HEIGHTS = (f"{_TIFF} ImageLength", f"{_EXIF} PixelYDimension")
_ORIENTATION = f"{_TIFF} Orientation"
_MARKS = "http://www.metadataworkinggroup.com/schemas/regions/ "
_REGIONS = (f"{_MARKS}Regions", "http://ns.microsoft.com/photo/1.2/ RegionInfo")
_THUMBNAILS = "http://ns.adobe.com/xap/1.0/ Thumbnails"

_OTHER_PICTURES = {
    "http://ns.adobe.com/hdr-gain-map/1.0/ ": "the gain map (HDR)",
    "http://ns.apple.com/HDRGainMap/1.0/ ": "the gain map (HDR)",
    f"{_CAMERA}MicroVideo": "the video of a motion photo",
    f"{_CAMERA}MotionPhoto": "the video of a motion photo",
    "http://ns.oplus.com/photos/1.0/camera/ ": "the video of a motion photo",
    f"{_GOOGLE}depthmap/ ": "the depth map",
    f"{_GOOGLE}image/ ": "the image that XMP holds",
    f"{_GOOGLE}audio/ ": "the sound",
    "http://ns.google.com/photos/dd/1.0/device/ ": "the depth map",
    "http://ns.apple.com/pixeldatainfo/1.0/ ": "the depth map",
}
"""What else a file may hold than its picture, by the beginning of the properties that describe it."""
_DIRECTORY = f"{_GOOGLE}container/ "
"""A list of all that, in general; what it lists is described by one of those above, or by nothing."""

_AREAS = ("FullPano{}Pixels", "CroppedAreaImage{}Pixels", "LargestValidInteriorRect{}")
_ACROSS = (*(name.format("Width") for name in _AREAS), "CroppedAreaLeftPixels", "LargestValidInteriorRectLeft")
_DOWN = (*(name.format("Height") for name in _AREAS), "CroppedAreaTopPixels", "LargestValidInteriorRectTop")
"""Properties of a panorama that count pixels."""


def stated_orientation(blob: bytes, packet: bytes) -> int:
    """How pixels are to be turned, 1 to 8 as EXIF counts: what EXIF states, or else XMP."""
    stated = exif.orientation(blob)
    if stated is None and packet:
        try:
            text = Packet.of(packet).value(_ORIENTATION)
        except ValueError:
            text = None
        stated = int(text) if text and re.fullmatch("[1-8]", text) else None
    return stated or 1


def level_xmp(packet: bytes) -> bytes:
    """XMP whose orientation is 1, of pixels that were decoded upright."""
    if not packet:
        return packet
    try:
        found = Packet.of(packet)
        found.change(_ORIENTATION, partial(_instead, "1"))
        return found.changed()
    except ValueError:
        return xmp.with_orientation_one(packet)


def of_pixels(metadata: Metadata, orientation: int, width: int, height: int) -> tuple[Metadata, list[str]]:
    """What stays true of the pixels alone, once they are upright, and what had to be left out, one line each.

    Args:
        orientation: how the pixels were turned, 1 to 8.
        width, height: the size of the upright image.
    """
    lost: list[str] = []
    size = (width, height)
    changes = replace(metadata, size=size)
    if metadata.xmp:
        changes = replace(changes, xmp=_xmp_of_pixels(metadata.xmp, orientation, lost))
    if orientation == 1:
        return changes, lost
    stored = size if orientation < 5 else (height, width)
    if metadata.exif:
        changes = replace(changes, exif=exif.upright(metadata.exif, orientation, stored))
    if metadata.geo:
        changes = replace(changes, geo=())
        lost.append("the GeoTIFF position is left out: the image was turned")
    if metadata.resolution and orientation > 4:
        changes = replace(changes, resolution=metadata.resolution.turned())
    return changes, lost


def _xmp_of_pixels(data: bytes, orientation: int, lost: list[str]) -> bytes:
    try:
        packet = Packet.of(data)
        for beginning, words in _OTHER_PICTURES.items():
            note = f"{words} is left out"
            if packet.remove(partial(_begins, beginning)) and note not in lost:
                lost.append(note)
        if packet.remove(partial(_begins, _DIRECTORY)) and not lost:
            lost.append("what the file holds besides its picture is left out")
        if orientation > 1:
            packet.change(_ORIENTATION, partial(_instead, "1"))
            packet.remove(lambda name: name == _THUMBNAILS)
            if packet.remove(lambda name: name in _REGIONS):
                lost.append("the regions marked in XMP, such as faces, are left out: the image was turned")
        return packet.changed()
    except ValueError:
        return xmp.with_orientation_one(data) if orientation > 1 else data


def resampled(metadata: Metadata, width: int, height: int) -> Metadata:
    """The metadata for the same image at another size. The resolution stays, so that prints become larger."""
    if not metadata.size or metadata.size == (width, height):
        return metadata
    old, new = metadata.size, (width, height)
    across, down = width / old[0], height / old[1]
    changes = replace(metadata, size=new)
    if metadata.exif:
        changes = replace(changes, exif=exif.resized(metadata.exif, old, new))
    if metadata.geo:
        changes = replace(changes, geo=geo.resampled(metadata.geo, across, down))
    if metadata.xmp:
        changes = replace(changes, xmp=_resampled_xmp(metadata.xmp, width, height, across, down))
    return changes


def _resampled_xmp(data: bytes, width: int, height: int, across: float, down: float) -> bytes:
    try:
        packet = Packet.of(data)
        for names, side in ((_XMP_WIDTHS, width), (_XMP_HEIGHTS, height)):
            for name in names:
                packet.change(name, partial(_instead, str(side)))
        for name, factor in ((f"{_SIZE}w", across), (f"{_SIZE}h", down)):
            packet.change(name, partial(_times, factor), within=f"{_MARKS}AppliedToDimensions")
        panorama = [(name, across) for name in _ACROSS] + [(name, down) for name in _DOWN]
        for name, factor in panorama:
            packet.change(f"{_PANORAMA}{name}", partial(_times, factor))
        return packet.changed()
    except ValueError:
        return data


def _begins(beginning: str, name: str) -> bool:
    return name.startswith(beginning)


def _instead(new: str, _: str) -> str:
    return new


def _times(factor: float, number: str) -> str:
    """A number of pixels, multiplied; what is none stays."""
    try:
        return str(round(float(number) * factor))
    except (ValueError, OverflowError):
        return number
