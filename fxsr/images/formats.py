"""File formats of images: which there are, and what each can hold."""

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
"""Names that `--format` takes, with the suffix each gives."""
WRITABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr"})
READABLE = WRITABLE | {".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe"}
"""Suffixes that make a file in a folder count as an image. Files named one by one are tried whatever their suffix."""

SIDE_LIMIT = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
"""Largest width and height in pixels."""
DEPTHS = {
    ".png": ("uint8", "uint16"),
    ".tif": ("uint8", "uint16", "float32"),
    ".tiff": ("uint8", "uint16", "float32"),
    ".exr": ("float32",),
}
"""Types that a format holds; the others hold uint8."""
WITHOUT_ALPHA = frozenset({".jpg", ".jpeg", ".bmp"})
WITHOUT_METADATA = frozenset({".bmp", ".exr"})
