"""What an image file says besides its pixels, as values that belong to no format."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction

from fxsr.errors import foreign_name
from fxsr.images.tiff_directory import Entry

MOST_BYTES = 1 << 26
"""Bytes of metadata that are taken from a file. What is beyond is left out, with a note."""
COMMENT = b"Comment"
"""The keyword of a text that JPEG and GIF files hold as a comment."""
METRE, INCH, CENTIMETRE = Fraction(1), Fraction(254, 10000), Fraction(1, 100)
"""In metres."""


@dataclass(frozen=True)
class Resolution:
    """Pixels per length, across and down."""

    across: Fraction
    down: Fraction
    metres: Fraction | None
    """The length; None where only the shape of a pixel is known, across : down."""

    @staticmethod
    def per_inch(across: Fraction | int, down: Fraction | int) -> Resolution | None:
        """None: these are no resolution."""
        return resolution(Fraction(across), Fraction(down), INCH)

    @staticmethod
    def per_centimetre(across: Fraction | int, down: Fraction | int) -> Resolution | None:
        """None: these are no resolution."""
        return resolution(Fraction(across), Fraction(down), CENTIMETRE)

    @staticmethod
    def per_metre(across: int, down: int) -> Resolution | None:
        """None: these are no resolution."""
        return resolution(Fraction(across), Fraction(down), METRE)

    @staticmethod
    def of_shape(across: Fraction | int, down: Fraction | int) -> Resolution | None:
        """None: the pixels are square, which says nothing."""
        return None if across == down else resolution(Fraction(across), Fraction(down), None)

    @property
    def in_centimetres(self) -> bool:
        """Whether it is a round number per centimetre rather than per inch."""
        return self.metres in (CENTIMETRE, METRE)

    def per(self, metres: Fraction) -> tuple[Fraction, Fraction]:
        """Pixels per a length, of a resolution that has one."""
        factor = metres / (self.metres or 1)
        return self.across * factor, self.down * factor

    def turned(self) -> Resolution:
        """The resolution of the image turned by a quarter."""
        return Resolution(self.down, self.across, self.metres)


def resolution(across: Fraction, down: Fraction, metres: Fraction | None) -> Resolution | None:
    """None: these are no resolution, since one is not positive."""
    return Resolution(across, down, metres) if across > 0 and down > 0 else None


@dataclass(frozen=True)
class Text:
    """A text with a keyword, as PNG files hold them."""

    kind: bytes
    """The chunk: tEXt, zTXt or iTXt."""
    data: bytes
    """The chunk's data, which begins with the keyword, in Latin-1."""

    @staticmethod
    def of(keyword: bytes, text: bytes) -> Text:
        """A text that another format holds; UTF-8 where it can be that, else Latin-1."""
        try:
            plain = text.decode().isascii()
        except UnicodeDecodeError:
            plain = True
        if plain:
            return Text(b"tEXt", keyword + b"\0" + text.replace(b"\0", b" "))
        return Text(b"iTXt", keyword + b"\0\0\0\0\0" + text)

    @property
    def keyword(self) -> bytes:
        """What the text is, such as Title, in Latin-1."""
        return self.data.partition(b"\0")[0]

    def text(self, most: int = MOST_BYTES) -> bytes | None:
        """The text, unpacked; None if it is damaged or has more than `most` bytes."""
        _, _, rest = self.data.partition(b"\0")
        if self.kind == b"tEXt":
            return rest
        packed = True
        if self.kind == b"iTXt":
            packed = rest[:1] == b"\1"
            _, _, rest = rest[2:].partition(b"\0")
            _, _, rest = rest.partition(b"\0")
        else:
            rest = rest[1:]
        return unpacked(rest, most) if packed else rest


def unpacked(data: bytes, most: int = MOST_BYTES) -> bytes | None:
    """Data that zlib packed; None if it is damaged or would have more than `most` bytes."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, most)
    except zlib.error:
        return None
    return found if unpacker.eof else None


@dataclass(frozen=True)
class Metadata:
    """What an image file says besides its pixels. What is absent is empty."""

    icc: bytes = b""
    """ICC profile of the pixels."""
    exif: bytes = b""
    """A TIFF structure."""
    xmp: bytes = b""
    """One XMP packet, in UTF-8."""
    iptc: bytes = b""
    """Records of IPTC-IIM."""
    photoshop: bytes = b""
    """Resource blocks of Photoshop ("8BIM"), without the IPTC records."""
    texts: tuple[Text, ...] = ()
    geo: tuple[Entry, ...] = ()
    """The entries that make a TIFF file a GeoTIFF file."""
    resolution: Resolution | None = None
    size: tuple[int, int] | None = None
    """Width and height of the pixels that all this was said of; None: nothing depends on it."""

    def names(self) -> Iterator[str]:
        """What there is, in words."""
        words = {
            "icc": "ICC profile",
            "exif": "EXIF",
            "xmp": "XMP",
            "iptc": "IPTC",
            "photoshop": "Photoshop resources",
            "geo": "GeoTIFF position",
            "resolution": "resolution",
        }
        for each in fields(self):
            if each.name in words and getattr(self, each.name):
                yield words[each.name]
        yield from text_names(self.texts)


def text_names(texts: tuple[Text, ...]) -> Iterator[str]:
    """Texts in words, with the first few keywords."""
    if texts:
        words = [foreign_name(text.keyword.decode("latin-1"), 30) for text in texts]
        yield f"text ({', '.join(words[:4])}{', ...' if len(words) > 4 else ''})"


def listed(names: list[str]) -> str:
    """Names as a part of a sentence: "EXIF, XMP and IPTC"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
