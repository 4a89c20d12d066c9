"""Metadata in JPEG files: the segments before the first scan.

Source: ITU-T T.81, annex B; JFIF 1.02; Exif 3.0, 4.7; Adobe XMP part 3, 1.1.3; ICC.1, annex B.4; CIPA DC-007 (MPF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from fxsr.errors import foreign_name
from fxsr.images.metadata import exif, photoshop, xmp, xmp_extension
from fxsr.images.metadata.found import Found
from fxsr.images.metadata.values import (
    CENTIMETRE,
    COMMENT,
    INCH,
    MOST_BYTES,
    Metadata,
    Resolution,
    Text,
    listed,
    text_names,
)

_JFIF = b"JFIF\0"
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_MPF = b"MPF\0"
_OWN_SIGNS = (_JFIF, b"JFXX\0", b"Adobe", b"Ducky")
"""Segments that describe how the file is compressed, or hold a thumbnail."""
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1"
_MOST = 65533
"""Bytes of a segment."""
_MOST_XMP = 65400
_COM, _SCAN, _END = 0xFE, 0xDA, 0xD9


def read_jpeg(file: BinaryIO) -> Found:
    """What a JPEG file says besides its pixels."""
    found = Found()
    whole_exif, packet, blocks = b"", b"", b""
    extensions: dict[bytes, dict[int, bytes]] = {}
    density: Resolution | None = None
    unknown: list[str] = []
    for marker, data in _segments(file, found):
        if data.startswith(_JFIF) and marker == 0xE0 and len(data) >= 12:
            density = _density(*struct.unpack_from(">BHH", data, 7))
        elif data.startswith(_EXIF[:5]) and marker == 0xE1:
            more = data[6:]
            if not whole_exif:
                whole_exif = more
            elif not more.startswith((b"II", b"MM")):  # continues the one before it, as ExifTool writes long ones
                whole_exif += more
        elif data.startswith(_XMP):
            packet = packet or data[len(_XMP) :]
        elif data.startswith(_MORE_XMP) and len(data) >= 75:
            (offset,) = struct.unpack_from(">I", data, 71)
            extensions.setdefault(data[35:67], {})[offset] = data[75:]
        elif data.startswith(_PHOTOSHOP):
            blocks += data[len(_PHOTOSHOP) :]
        elif marker == _COM:
            found.texts.append(Text.of(COMMENT, data.rstrip(b"\0")))
        elif data.startswith(_MPF):
            pass  # `fxsr.images.structure.jpeg` counts the pictures
        elif data.startswith(_GAIN_MAP):
            found.say("the gain map (HDR) is left out")
        elif marker == 0xEB and data.startswith(b"JP"):
            found.say("the content credentials (C2PA) are left out: they vouch for the input's bytes")
        elif not data.startswith((_ICC, *_OWN_SIGNS)):
            unknown.append(_named(marker, data))
    if unknown:
        unknown = list(dict.fromkeys(unknown))
        found.say(f"{listed(unknown)} of the JPEG file {'are' if len(unknown) > 1 else 'is'} left out")
    if _has_samsung_trailer(file):
        found.say("what the camera appended to the file (such as a video or a depth map) is left out")
    found.take_exif(whole_exif)
    found.xmp = _joined(xmp.normal(packet), extensions, found)
    found.iptc, found.photoshop = photoshop.split(blocks)
    found.resolution = density or exif.exif_resolution(found.exif)
    return found


def _segments(file: BinaryIO, found: Found) -> Iterator[tuple[int, bytes]]:
    """Marker and data of the segments for applications and comments."""
    file.seek(2)
    total = 0
    while True:
        head = file.read(2)
        while head[:1] == b"\xff" and head[1:] == b"\xff":  # padding
            head = b"\xff" + file.read(1)
        if len(head) < 2 or head[0] != 0xFF or head[1] in (_SCAN, _END):
            return
        if head[1] == 1 or 0xD0 <= head[1] <= 0xD8:
            continue
        length = file.read(2)
        if len(length) < 2 or length < b"\0\2":
            return
        size = int.from_bytes(length, "big") - 2
        if not (0xE0 <= head[1] <= 0xEF or head[1] == _COM):
            file.seek(size, 1)
            continue
        data = file.read(size)
        if len(data) < size:
            return
        total += size
        if total > MOST_BYTES:
            found.say_too_much()
            return
        yield head[1], data


def _density(unit: int, across: int, down: int) -> Resolution | None:
    match unit:
        case 1:
            return Resolution.per_inch(across, down)
        case 2:
            return Resolution.per_centimetre(across, down)
        case _:
            return Resolution.of_shape(across, down)


def _named(marker: int, data: bytes) -> str:
    sign = data[:32].partition(b"\0")[0].decode("latin-1")
    return f"APP{marker - 0xE0}" + (f" ({foreign_name(sign, 20)})" if sign.isprintable() and sign else "")


def _has_samsung_trailer(file: BinaryIO) -> bool:
    end = file.seek(0, 2)
    file.seek(max(0, end - 4))
    return file.read(4) == b"SEFT"


def _joined(packet: bytes, extensions: dict[bytes, dict[int, bytes]], found: Found) -> bytes:
    """The packet together with the extension that it names."""
    if not packet or not extensions:
        if extensions:
            found.say("an extension of XMP is left out: there is nothing that it extends")
        return packet
    mine = next((parts for name, parts in extensions.items() if name.upper() in packet.upper()), None)
    try:
        if mine is None:
            raise ValueError("of another packet")
        whole = b""
        for offset in sorted(mine):
            if offset != len(whole):
                raise ValueError("a part is missing")
            whole += mine[offset]
        return xmp_extension.merged(packet, whole)
    except ValueError:
        found.say("the extension of XMP is left out: it is damaged, or belongs to another image")
        return packet


def header(metadata: Metadata) -> tuple[bytes, list[str]]:
    """The segments that follow the first marker of a JPEG file, and what they can't hold, one line each."""
    lost: list[str] = []
    parts = [_segment(0xE0, _JFIF + struct.pack(">HBHHBB", 0x0101, *_stored_density(metadata.resolution), 0, 0))]
    if metadata.exif:
        small, left_out = exif.fitted(metadata.exif, _MOST - len(_EXIF))
        parts.append(_segment(0xE1, _EXIF + small))
        if left_out:
            more = [f"{len(left_out) - 5} more"] if len(left_out) > 5 else []
            lost.append(f"JPEG holds at most 64 KB of EXIF: {listed(left_out[:5] + more)} left out")
    parts += _xmp_segments(metadata.xmp, lost)
    blocks = photoshop.joined(metadata.iptc, metadata.photoshop)
    parts += [_segment(0xED, _PHOTOSHOP + part) for part in _cut(blocks, _MOST - len(_PHOTOSHOP))]
    profile = _cut(metadata.icc, _MOST - len(_ICC) - 2)
    if len(profile) > 255:
        lost.append("JPEG holds no ICC profile of this size: left out, and colours are taken as sRGB")
    else:
        parts += [_segment(0xE2, _ICC + bytes([n + 1, len(profile)]) + part) for n, part in enumerate(profile)]
    other = []
    for text in metadata.texts:
        comment = text.text(_MOST) if text.keyword == COMMENT else None
        if comment is None or len(comment) > _MOST:
            other.append(text)
        else:
            parts.append(_segment(_COM, comment))
    left_out = [*text_names(tuple(other)), *(["the GeoTIFF position"] if metadata.geo else [])]
    if left_out:
        lost.append(f"JPEG can't hold {listed(left_out)}: left out")
    return b"".join(parts), lost


def _xmp_segments(packet: bytes, lost: list[str]) -> list[bytes]:
    if not packet:
        return []
    extension = b""
    if len(packet) > _MOST_XMP:
        try:
            packet, extension = xmp_extension.split(packet, _MOST_XMP)
        except ValueError:
            lost.append(f"JPEG can't hold these {len(packet)} bytes of XMP: left out")
            return []
    parts = [_segment(0xE1, _XMP + packet)]
    name = xmp_extension.digest(extension)
    for at in range(0, len(extension), _MOST_XMP):
        numbers = struct.pack(">II", len(extension), at)
        parts.append(_segment(0xE1, _MORE_XMP + name + numbers + extension[at : at + _MOST_XMP]))
    return parts


def _stored_density(resolution: Resolution | None) -> tuple[int, int, int]:
    """Unit and density as JFIF stores them."""
    if resolution is None:
        return 0, 1, 1
    if resolution.metres is None:
        shape = (resolution.across / resolution.down).limit_denominator(255)
        return 0, min(max(shape.numerator, 1), 0xFFFF), shape.denominator
    sides = resolution.per(CENTIMETRE)
    unit = 2
    if any(side.denominator > 1 for side in sides):
        unit, sides = 1, resolution.per(INCH)
    across, down = (min(max(round(side), 1), 0xFFFF) for side in sides)
    return unit, across, down


def _cut(data: bytes, length: int) -> list[bytes]:
    return [data[at : at + length] for at in range(0, len(data), length)]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
