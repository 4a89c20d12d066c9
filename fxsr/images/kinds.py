"""What kind of file something is, by its first bytes. Names count for nothing: a drawing called .png is a drawing.

Only the kinds of `Kind` are ever given to a decoder. Everything else is refused and named.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from fxsr.errors import ImageError

HEAD = 4096
"""Bytes at the start of a file that decide its kind."""


class Kind(StrEnum):
    """The formats that are read; the value is the name for messages."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    TIFF = "TIFF"
    BMP = "BMP"
    GIF = "GIF"
    EXR = "EXR"
    HEIC = "HEIC"
    AVIF = "AVIF"

    @property
    def suffix(self) -> str:
        """The usual suffix, such as `.jpg`."""
        return {"JPEG": ".jpg", "TIFF": ".tif"}.get(self, f".{self.lower()}")


_READ = (
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"II*\0", Kind.TIFF),
    (b"MM\0*", Kind.TIFF),
    (b"II+\0", Kind.TIFF),
    (b"MM\0+", Kind.TIFF),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"\x76\x2f\x31\x01", Kind.EXR),
    (b"BM", Kind.BMP),
)

_EXPORT = "export it as PNG or TIFF first"
_CONVERT = "convert it to PNG or TIFF first"
_DEVELOP = "develop it to TIFF or JPEG first"
_UNPACK = "unpack it and give the images inside"
_AGAIN = "get the picture itself again"

_STRANGERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "run `git lfs pull`"),
    (0, b"%PDF", "a PDF document", _EXPORT),
    (0, b"%!PS", "a PostScript drawing", _EXPORT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript drawing", _EXPORT),
    (0, b"8BPS", "a Photoshop document (PSD)", _EXPORT),
    (0, b"gimp xcf", "a GIMP document (XCF)", _EXPORT),
    (0, b"AT&TFORM", "a DjVu document", _EXPORT),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", _EXPORT),
    (40, b" EMF", "a Windows metafile (EMF)", _EXPORT),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"II\xbc\x01", "a JPEG XR picture", _CONVERT),
    (0, b"\x8aMNG", "an MNG animation", _CONVERT),
    (0, b"\x8bJNG", "a JNG picture", _CONVERT),
    (0, b"FLIF", "a FLIF picture", _CONVERT),
    (0, b"BPG\xfb", "a BPG picture", _CONVERT),
    (0, b"qoif", "a QOI picture", _CONVERT),
    (0, b"DDS ", "a DDS texture", _CONVERT),
    (0, b"\xabKTX ", "a KTX texture", _CONVERT),
    (0, b"icns", "an icon file (ICNS)", _CONVERT),
    (0, b"\0\0\1\0", "an icon file (ICO)", _CONVERT),
    (0, b"\0\0\2\0", "a mouse pointer (CUR)", _CONVERT),
    (0, b"\x01\xda", "an SGI picture", _CONVERT),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster picture", _CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", "convert it to EXR first"),
    (0, b"#?RGBE", "a Radiance HDR picture", "convert it to EXR first"),
    (0, b"SDPX", "a DPX frame", "convert it to EXR or TIFF first"),
    (0, b"XPDS", "a DPX frame", "convert it to EXR or TIFF first"),
    (0, b"\x80\x2a\x5f\xd7", "a Cineon frame", "convert it to EXR or TIFF first"),
    (0, b"/* XPM", "an XPM icon", _CONVERT),
    (0, b"\x08\xf2\xa6\xb6", "a libvips picture (.v)", _CONVERT),
    (0, b"\xb6\xa6\xf2\x08", "a libvips picture (.v)", _CONVERT),
    (0, b"SIMPLE  =", "a FITS file", _CONVERT),
    (344, b"n+1\0", "a NIfTI volume", _CONVERT),
    (344, b"ni1\0", "a NIfTI volume", _CONVERT),
    (128, b"DICM", "a DICOM file", _CONVERT),
    (0, b"\x89HDF\r\n", "an HDF5 file", _CONVERT),
    (0, b"CDF\x01", "a NetCDF file", _CONVERT),
    (0, b"\x93NUMPY", "a NumPy array", _CONVERT),
    (0, b"MATLAB 5.0", "a MATLAB file", _CONVERT),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file (RAF)", _DEVELOP),
    (0, b"IIU\0", "a camera raw file (RW2)", _DEVELOP),
    (0, b"IIRO", "a camera raw file (ORF)", _DEVELOP),
    (0, b"IIRS", "a camera raw file (ORF)", _DEVELOP),
    (0, b"MMOR", "a camera raw file (ORF)", _DEVELOP),
    (0, b"II\x1a\0\0\0HEAPCCDR", "a camera raw file (CRW)", _DEVELOP),
    (8, b"CR\2", "a camera raw file (CR2)", _DEVELOP),
    (0, b"\0MRM", "a camera raw file (MRW)", _DEVELOP),
    (0, b"FOVb", "a camera raw file (X3F)", _DEVELOP),
    (0, b"PK\3\4", "a ZIP archive", _UNPACK),
    (0, b"PK\5\6", "an empty ZIP archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"\x1f\x8b", "gzip-compressed data", _UNPACK),
    (0, b"BZh", "bzip2-compressed data", _UNPACK),
    (0, b"\xfd7zXZ\0", "xz-compressed data", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard-compressed data", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video", "extract its frames as PNG first"),
    (0, b"\0\x05\x16\x07", "a macOS resource fork", "give the file whose name lacks the ._"),
    (0, b"\x7fELF", "a program", _AGAIN),
    (0, b"MZ", "a program", _AGAIN),
)
"""Offset, bytes at it, what the file is, and what to do about it."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS = (b"avif", b"avis")
_MOVIE = ("a video (MP4 or MOV)", "extract its frames as PNG first")
_PNM = re.compile(rb"P[1-7Ff]\s")
_TAGGED = re.compile(rb"<(?:\w+:)?(svg|html|head|body)[\s>]", re.IGNORECASE)
_MATRIX = re.compile(rb"[\d.+\-eE]+(?:[ \t,;]+[\d.+\-eE]+)*\s*\n")


_VIDEOS: tuple[tuple[int, bytes], ...] = (
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"FLV\x01"),
    (0, b"\0\0\1\xba"),  # MPEG program stream
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF, WMV
    (0, b"OggS"),
    (0, b"DKIF"),  # IVF
    (0, b"YUV4MPEG2 "),
    (0, b"nut/multimedia container"),
)
_TS_PACKETS = (188, 192)
"""Sizes of the packets of an MPEG transport stream, each of which has the byte 0x47 at one place."""


def is_video_head(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file are those of a video. Moving GIF and AVIF files count as images."""
    if head[4:8] == b"ftyp":
        return _of_brands(head) == _MOVIE
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free"):  # QuickTime before there were brands
        return True
    if any(head.startswith(magic, offset) for offset, magic in _VIDEOS):
        return True
    return any(
        len(head) > 4 * size and all(head[start + at * size] == 0x47 for at in range(4))
        for size, start in zip(_TS_PACKETS, (0, 4), strict=True)
    )


def find_kind(path: Path) -> Kind:
    """The kind of an image file.

    Raises:
        ImageError: the file is empty, or is something else; the message names what.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        if not head:
            raise ImageError(f"{path}: empty file")
        kind = _kind(head)
        if isinstance(kind, Kind):
            return kind
        what, advice = kind or _text(head) or _blank(head, file) or ("", "")
    if what:
        raise ImageError(f"{path}: not an image that can be read: it is {what}; {advice}")
    names = ", ".join(kind for kind in Kind)
    raise ImageError(f"{path}: not an image that can be read: its first bytes fit none of {names}")


def _kind(head: bytes) -> Kind | tuple[str, str] | None:
    """The kind, or what else the file is and what to do about it; None if these bytes tell nothing."""
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
        return _of_chunk(head[8:12])
    if head[:3] == b"\xff\xd8\xff" and head[3:4] == b"\xf7":
        return "a JPEG-LS picture", _CONVERT
    for offset, magic, what, advice in _STRANGERS:
        if head.startswith(magic, offset):
            return what, advice
    if head.startswith(b"BM") and not _is_bmp(head):
        return None
    return next((kind for magic, kind in _READ if head.startswith(magic)), None)


def _is_bmp(head: bytes) -> bool:
    """Whether the size of the second header is one that BMP files have; two letters alone also begin texts."""
    return len(head) < 18 or int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def _of_brands(head: bytes) -> Kind | tuple[str, str]:
    """The kind of a file of boxes (ISO/IEC 14496-12), by its brands and, if they are general, by its items."""
    size = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4))}
    if head[8:12] == b"crx ":
        return "a camera raw file (CR3)", _DEVELOP
    for kind, own in ((Kind.AVIF, _AVIF_BRANDS), (Kind.HEIC, _HEIF_BRANDS)):
        if head[8:12] in own:
            return kind
    for kind, own, item in ((Kind.AVIF, _AVIF_BRANDS, b"av01"), (Kind.HEIC, _HEIF_BRANDS, b"hvc1")):
        if not brands.isdisjoint(own) or (not brands.isdisjoint((b"mif1", b"msf1")) and item in head):
            return kind
    if not brands.isdisjoint((b"mif1", b"mif2", b"msf1", b"jpeg", b"avci", b"vvic", b"j2ki")):
        return "a HEIF picture that is coded neither as HEIC nor as AVIF", _CONVERT
    return _MOVIE


def _of_chunk(kind: bytes) -> Kind | tuple[str, str]:
    if kind == b"WEBP":
        return Kind.WEBP
    if kind in (b"ILBM", b"PBM "):
        return "an Amiga picture (ILBM)", _CONVERT
    what = {b"AVI ": "an AVI video", b"WAVE": "a sound file (WAV)", b"AIFF": "a sound file (AIFF)"}.get(kind)
    return what or "a RIFF file that is no WebP picture", _AGAIN


def _text(head: bytes) -> tuple[str, str] | None:
    """What a text file is."""
    for mark, code in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            head = head.decode(code, "ignore").encode()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        if tag := _TAGGED.search(start):
            return ("an SVG drawing", _EXPORT) if tag[1].lower() == b"svg" else ("an HTML page", _AGAIN)
        if start[:9].lower() == b"<!doctype":
            svg = b"svg" in start[:200].lower()
            return ("an SVG drawing", _EXPORT) if svg else ("an HTML page", _AGAIN)
        return "an XML document; if it is an SVG drawing, its root is beyond the first 4 KB", _EXPORT
    if _PNM.match(start):
        return "a PNM picture (PBM, PGM, PPM, PAM or PFM)", _CONVERT
    if _MATRIX.match(start):
        return "a text of numbers", _CONVERT
    if b"\0" not in head and not any(byte < 9 or (13 < byte < 32 and byte != 27) for byte in head):
        try:
            head.decode()
        except UnicodeDecodeError as error:
            if error.start < len(head) - 3:  # the last character may be cut
                return None
        return "a text file", _AGAIN
    return None


def _blank(head: bytes, file: BinaryIO) -> tuple[str, str] | None:
    """Whether the file holds zeros alone, as after a crash or a failed copy."""
    if head.strip(b"\0") or file.read(HEAD).strip(b"\0"):
        return None
    return "filled with zeros, as after a failed copy", _AGAIN
