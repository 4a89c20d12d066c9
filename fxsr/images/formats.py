"""Image file formats, and what each can hold."""

from __future__ import annotations

FORMATS = {
    "png": ".png",
    "jpg": ".jpg",
    "jpeg": ".jpg",
    "webp": ".webp",
    "tiff": ".tif",
    "tif": ".tif",
    "bmp": ".bmp",
    "exr": ".exr",
}
"""Names for `--format`, with the suffix of each."""
WRITABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr"})
READABLE = WRITABLE | {".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe"}
"""Suffixes of the files in a folder that count as images. Files that are named one by one may have any suffix."""

UNWRITABLE = frozenset({
    ".apng", ".arw", ".avi", ".cr2", ".cr3", ".dds", ".dng", ".flv", ".hdr", ".ico", ".j2k", ".jp2", ".jpx", ".jxl",
    ".mpeg", ".mpg", ".nef", ".ogv", ".pbm", ".pdf", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga", ".wmv", ".y4m",
})  # fmt: skip
"""Other suffixes of pictures and videos: whoever writes to such a name does not mean a folder."""

SIDE_LIMIT = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
"""Largest width and height in pixels."""
DEPTHS = {
    ".png": ("uint8", "uint16"),
    ".tif": ("uint8", "uint16", "float32"),
    ".tiff": ("uint8", "uint16", "float32"),
    ".exr": ("float32",),
}
"""Pixel types that a format holds; formats that are not listed hold uint8."""
LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
WITHOUT_ALPHA = frozenset({".jpg", ".jpeg", ".bmp"})
WITHOUT_PROFILE = frozenset({".bmp", ".exr"})
