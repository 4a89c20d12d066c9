"""Resource blocks of Photoshop, which hold IPTC records and much else, in JPEG's APP13 and a TIFF entry.

Source: Adobe Photoshop File Formats Specification, "Image Resource Blocks".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

IPTC = 0x0404
_STALE = {
    0x0408,  # guides, in pixels
    0x0409,  # thumbnails
    0x040C,
    0x040F,  # ICC profile, EXIF and XMP, which files hold elsewhere
    0x0422,
    0x0423,
    0x0424,
    0x041A,  # slices, in pixels
    0x0425,  # digest of the IPTC records
}
"""Resources that tell of the old pixels, or a second time of what is kept elsewhere."""
_RESOLUTION = 0x03ED


def split(blocks: bytes) -> tuple[bytes, bytes]:
    """The IPTC records, and the other blocks that stay true. Blocks that can't be read stay as they are."""
    iptc, others = b"", b""
    try:
        for number, block, data in _blocks(blocks):
            if number == IPTC:
                iptc = iptc or data
            elif number not in _STALE and number != _RESOLUTION:
                others += block
    except ValueError:
        return b"", blocks
    return iptc, others


def joined(iptc: bytes, blocks: bytes) -> bytes:
    """Blocks with the IPTC records among them."""
    if not iptc:
        return blocks
    return struct.pack(">4sHHI", b"8BIM", IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2) + blocks


def _blocks(blocks: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, whole block and data of each.

    Raises:
        ValueError: this is no block.
    """
    at = 0
    while at < len(blocks.rstrip(b"\0")):
        begin = at
        if len(blocks) < at + 12 or blocks[at : at + 4] not in (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"):
            raise ValueError("no resource block")
        (number,) = struct.unpack_from(">H", blocks, at + 4)
        name = blocks[at + 6] + 1
        at += 6 + name + name % 2
        if len(blocks) < at + 4:
            raise ValueError("no size")
        (size,) = struct.unpack_from(">I", blocks, at)
        data = blocks[at + 4 : at + 4 + size]
        if len(data) < size:
            raise ValueError("cut")
        at += 4 + size + size % 2
        yield number, blocks[begin:at].ljust(at - begin, b"\0"), data
