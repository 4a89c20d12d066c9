"""Only the promised formats are opened, whatever a file is called; everything else is named."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxsr.errors import ImageError
from fxsr.images.formats import READABLE
from fxsr.images.image import read_image
from fxsr.images.kinds import Kind, find_kind


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), name) + data


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"x")
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="200000" height="200000"><rect width="9" height="9"/></svg>'
STRANGERS = {
    "svg": (SVG, "is an SVG drawing; export it as PNG"),
    "svg with a prologue": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n' + SVG, "is an SVG drawing"),
    "svg in UTF-16": (SVG.decode().encode("utf-16"), "is an SVG drawing"),
    "svgz": (gzip.compress(SVG), "is gzip-compressed data"),
    "matrix": (b"3 2\n1 2 3\n4 5 6\n", "is a text of numbers"),
    "libvips": (b"\xb6\xa6\xf2\x08" + bytes(60), r"is a libvips picture \(\.v\)"),
    "csv": (b"1,2,3\n4,5,6\n", "is a text of numbers"),
    "text": (b"hello", "is a text file"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer.*git lfs pull"),
    "pdf": (b"%PDF-1.7\n", "is a PDF document"),
    "psd": (b"8BPS\0\1" + bytes(20), "is a Photoshop document"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "is a JPEG 2000 picture"),
    "jpeg 2000 codestream": (b"\xff\x4f\xff\x51" + bytes(20), "is a JPEG 2000 picture"),
    "jpeg xl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "is a JPEG XL picture"),
    "jpeg xl codestream": (b"\xff\x0a" + bytes(20), "is a JPEG XL picture"),
    "jpeg ls": (b"\xff\xd8\xff\xf7" + bytes(20), "is a JPEG-LS picture"),
    "fits": (b"SIMPLE  =                    T" + bytes(20), "is a FITS file"),
    "nifti": (bytes([92, 1]) + bytes(342) + b"n+1\0", "is a NIfTI volume"),
    "dicom": (bytes(128) + b"DICM", "is a DICOM file"),
    "raf": (b"FUJIFILMCCD-RAW 0201", "is a camera raw file"),
    "cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(20), "is a camera raw file"),
    "cr3": (box(b"ftyp", b"crx \0\0\0\1crx isom"), "is a camera raw file"),
    "mp4": (box(b"ftyp", b"isom\0\0\2\0isomiso2"), "is a video"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(20), "is a Matroska or WebM video"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "is an AVI video"),
    "zip": (zipped(), "is a ZIP archive"),
    "ppm": (b"P6\n2 2\n255\n" + bytes(12), "is a PNM picture"),
    "hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", "is a Radiance HDR picture"),
    "ico": (b"\0\0\1\0\1\0" + bytes(16), "is an icon file"),
    "resource fork": (b"\0\x05\x16\x07" + bytes(20), "is a macOS resource fork"),
    "zeros": (bytes(9000), "is filled with zeros"),
    "empty": (b"", "empty file"),
    "noise": (b"\x93\xf1\x02\x88" * 9, "its first bytes fit none of PNG, JPEG"),
    "bm, but text": (b"BM is a school of management", "is a text file"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_not_promised_is_named_and_not_opened(name: str, tmp_path: Path) -> None:
    data, message = STRANGERS[name]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"photo\.png: .*{message}|photo\.png: {message}"):
        read_image(path)


def test_a_raw_file_is_not_taken_for_its_preview(tmp_path: Path) -> None:
    dng_version, photometric, colour_filter = 50706, 262, 32803
    for tag in (dng_version, photometric):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "TIFF", tiffinfo={tag: 0x401} if tag == dng_version else {})
        data = bytearray(file.getvalue())
        if tag == photometric:
            struct.pack_into("<H", data, data.index(struct.pack("<HHI", tag, 3, 1)) + 8, colour_filter)
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(ImageError, match="camera"):
            read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_picture_is_read_by_its_contents_whatever_it_is_called(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.svg"
    Image.fromarray(np.full((16, 16, 3), 128, np.uint8)).save(path, kind)
    assert find_kind(path).name == kind
    assert read_image(path).pixels.shape == (16, 16, 3)


def test_each_kind_has_a_suffix_that_folders_are_searched_for() -> None:
    assert {kind.suffix for kind in Kind} <= READABLE
