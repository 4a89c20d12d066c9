"""Images in and out: pixels as arrays, with the metadata that should survive the trip.

libvips does the work (PNG, JPEG, WebP, TIFF, and whatever else it can read); BMP, which it lacks, goes through Pillow.
Pixels are never converted behind the user's back but where a format leaves no choice: CMYK and Lab become sRGB on
reading; depth or alpha that the output format can't hold are reduced on writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.files import atomic_path
from fxsr.tiffexif import add_exif, read_exif

if TYPE_CHECKING:
    import pyvips

Pixels = NDArray[Any]

FORMATS = {"png": ".png", "jpg": ".jpg", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "tif": ".tif", "bmp": ".bmp"}
"""Names that `--format` takes, with the suffix each gives."""
WRITABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
READABLE = WRITABLE | {".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe"}
"""Suffixes that make a file in a folder count as an image. Files named one by one are tried whatever their suffix."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luminance (ITU-R BT.601)."""

_SIDE_LIMIT = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
_DEPTHS = {".png": ("uint8", "uint16"), ".tif": ("uint8", "uint16", "float32"), ".tiff": ("uint8", "uint16", "float32")}
"""Types that a format holds; the others hold uint8."""
_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32, "double": np.float32}
_KEPT = ("exif-", "icc-profile-data", "xmp-data", "iptc-data", "photoshop-data", "xres", "yres", "resolution-unit")


@dataclass(frozen=True)
class Picture:
    """An image in memory."""

    pixels: Pixels
    """(H, W, C), C 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16, or float32 in 0..1."""
    metadata: Mapping[str, tuple[int, Any]] = field(default_factory=dict, repr=False)
    """ICC profile, EXIF, XMP, IPTC and resolution, as libvips names, types and values; orientation is applied."""
    notes: tuple[str, ...] = ()
    """What reading could not keep, one line each."""


def dtype_peak(dtype: np.dtype[Any]) -> float:
    """The value that means full intensity: 255, 65535, or 1.0 for floats."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def luminance(rgb: Pixels) -> Pixels:
    """(..., 3) to (...): BT.601 luminance as float32, in the same range."""
    plane: Pixels = np.matmul(rgb.astype(np.float32), np.array(LUMA, np.float32))
    return plane


def read_image(path: Path | str) -> Picture:
    """Read an image, turned as its orientation tag says, palette and CMYK resolved to RGB.

    Raises:
        ImageError: missing, not an image, damaged or truncated, or of a kind that can't be upscaled.
    """
    import pyvips

    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
    try:
        with path.open("rb") as file:
            magic = file.read(2)
        if not magic:
            raise ImageError(f"{path}: empty file")
        if magic == b"BM":
            return _read_bmp(path)
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        notes = []
        if image.get_typeof("n-pages") and image.get("n-pages") > 1:
            notes.append(f"has {image.get('n-pages')} pages or frames; only the first is upscaled")
        return _picture(image, path, tuple(notes))
    except pyvips.Error as error:
        raise ImageError(f"{path}: not an image that can be read, or a damaged one ({_reason(error)})") from error
    except (OSError, MemoryError) as error:
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def write_image(path: Path | str, picture: Picture, quality: int = 95) -> tuple[str, ...]:
    """Write an image, whole or not at all, in the format of its suffix.

    Args:
        quality: of JPEG and WebP, 1..100.

    Returns:
        What the format could not hold, one line each.

    Raises:
        ImageError: the format is unknown or can't hold this image, or the library failed.
        FxsrError: the file can't be written.
    """
    import pyvips

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(
            f"{path}: cannot write {suffix or 'a file without suffix'}; choose {', '.join(sorted(WRITABLE))}"
        )
    height, width = picture.pixels.shape[:2]
    limit = _SIDE_LIMIT.get(suffix)
    if limit and max(height, width) > limit:
        raise ImageError(
            f"{path}: {width}x{height} is too large for {suffix} (at most {limit} a side); use png or tiff"
        )
    pixels, notes = _fit(picture.pixels, suffix)
    with atomic_path(path) as temporary:
        try:
            if suffix == ".bmp":
                _write_bmp(temporary, pixels)
            else:
                image = _vips_image(pixels, picture.metadata)
                image.write_to_file(str(temporary), **_options(suffix, pixels, quality))
            if suffix in (".tif", ".tiff") and "exif-data" in picture.metadata:
                _, exif = picture.metadata["exif-data"]
                if not add_exif(temporary, bytes(exif)):
                    notes += ("EXIF could not be kept",)
        except pyvips.Error as error:
            raise ImageError(f"{path}: cannot be written ({_reason(error)})") from error
    return notes


def resize_plane(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize an (H, W) array bilinearly, averaging where it shrinks. Never leaves the range of its values."""
    import pyvips

    if plane.shape == (height, width):
        return plane
    image = pyvips.Image.new_from_array(np.ascontiguousarray(plane))
    resized = image.resize(width / image.width, vscale=height / image.height, kernel="linear")
    # libvips rounds the size on its own: make sure of it
    array = resized.numpy().reshape(resized.height, resized.width)[:height, :width].astype(np.float32)
    missing = ((0, height - array.shape[0]), (0, width - array.shape[1]))
    padded: NDArray[np.float32] = np.pad(array, missing, mode="edge")
    return padded.clip(plane.min(), plane.max())


def _picture(image: pyvips.Image, path: Path, notes: tuple[str, ...]) -> Picture:
    import pyvips

    if image.get_typeof("orientation") and image.get("orientation") > 1:
        image = image.copy_memory().autorot()  # turning needs more than a forward read
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", intent="relative")
        image.remove("icc-profile-data")
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy", "hsv", "cmc"):
        image = image.colourspace("srgb")
    if image.format not in _DTYPES:
        raise ImageError(f"{path}: pixels of type {image.format} can't be upscaled; convert it to 8 or 16 bit first")
    if image.bands > 4:
        raise ImageError(f"{path}: has {image.bands} channels; grey, RGB and either with alpha can be upscaled")
    pixels = np.asarray(image.numpy(), _DTYPES[image.format]).reshape(image.height, image.width, image.bands)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(f"{path}: holds NaN or infinity")
    kept: dict[str, tuple[int, Any]] = {
        name: (image.get_typeof(name), image.get(name)) for name in image.get_fields() if _is_kept(name)
    }
    if "exif-data" not in kept and (exif := read_exif(path)):
        kept["exif-data"] = pyvips.GValue.blob_type, exif
    return Picture(pixels, kept, notes)


def _is_kept(name: str) -> bool:
    return name.startswith(_KEPT) and name != "exif-ifd0-Orientation" and not name.startswith("exif-ifd1")


def _vips_image(pixels: Pixels, metadata: Mapping[str, tuple[int, Any]]) -> pyvips.Image:
    import pyvips

    deep = pixels.dtype == np.uint16
    colour = "rgb16" if deep else "scrgb" if pixels.dtype.kind == "f" else "srgb"
    grey = "grey16" if deep else "b-w"
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    image = image.copy(interpretation=grey if pixels.shape[2] < 3 else colour)
    for name, (kind, value) in metadata.items():
        image.set_type(kind, name, value)
    if "exif-data" in metadata:  # which still tells how the pixels lay before they were turned
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _fit(pixels: Pixels, suffix: str) -> tuple[Pixels, tuple[str, ...]]:
    """Reduce depth and alpha to what the format holds, saying so."""
    notes = []
    if pixels.dtype.name not in _DEPTHS.get(suffix, ("uint8",)):
        target = np.dtype(np.uint16 if suffix == ".png" else np.uint8)
        notes.append(f"{suffix} holds no {pixels.dtype.name}: reduced to {target.name}")
        factor = dtype_peak(target) / dtype_peak(pixels.dtype)
        pixels = (np.clip(pixels, 0, dtype_peak(pixels.dtype)) * factor + 0.5).astype(target)
    if suffix in (".jpg", ".jpeg", ".bmp") and pixels.shape[2] in (2, 4):
        notes.append(f"{suffix} holds no alpha: laid on white")
        alpha = pixels[..., -1:].astype(np.float32) / 255
        pixels = (pixels[..., :-1] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return pixels, tuple(notes)


def _options(suffix: str, pixels: Pixels, quality: int) -> dict[str, Any]:
    match suffix:
        case ".jpg" | ".jpeg":
            return {"Q": quality, "subsample_mode": "off", "optimize_coding": True}
        case ".webp":
            return {"Q": quality, "smart_subsample": True}
        case ".tif" | ".tiff":
            return {
                "compression": "deflate",
                "predictor": "float" if pixels.dtype.kind == "f" else "horizontal",
                "bigtiff": pixels.nbytes > 2**32 - 2**26,
            }
        case _:
            return {"compression": 6}


def _read_bmp(path: Path) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            mode = "L" if image.mode in ("1", "L") else "RGBA" if image.mode == "RGBA" else "RGB"
            pixels = np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: not an image that can be read, or a damaged one ({error})") from error
    return Picture(pixels.reshape(*pixels.shape[:2], -1))


def _write_bmp(path: Path, pixels: Pixels) -> None:
    from PIL import Image

    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path, format="BMP")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
