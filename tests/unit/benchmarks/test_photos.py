from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxsr.benchmarks import photos
from fxsr.errors import UnavailableError
from fxsr.images.image import read_image


def qt_resource(files: dict[str, bytes]) -> bytes:
    """A resource file of version 1: root, folder `a`, and files in it, compressed."""
    names, offsets = b"", {}
    for name in ("a", *files):
        offsets[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    data, leaves = b"", b""
    for name, content in files.items():
        packed = struct.pack(">I", len(content)) + zlib.compress(content)
        leaves += struct.pack(">IHHHI", offsets[name], 1, 0, 0, len(data))
        data += struct.pack(">I", len(packed)) + packed
    root = struct.pack(">IHII", 0, 2, 1, 1)
    folder = struct.pack(">IHII", offsets["a"], 2, len(files), 2)
    tree = root + folder + leaves
    head = 20
    places = struct.pack(">IIII", 1, head, head + len(tree), head + len(tree) + len(data))
    return b"qres" + places + tree + data + names


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(file, "PNG")
    return file.getvalue()


def fetched(package: str, folder: Path) -> Path:
    """Every package at once: each photo's file is there, alone or in a resource file."""
    import tomllib

    listed = tomllib.loads((Path(photos.__file__).parent / "photos.toml").read_text())["photo"]
    inside: dict[str, dict[str, bytes]] = {}
    for photo in listed:
        path = folder / package / photo["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if "inside" in photo:
            inside.setdefault(photo["path"], {})[photo["name"]] = png(900, 600)
        else:
            path.write_bytes(png(900, 600))
    for name, files in inside.items():
        (folder / package / name).write_bytes(qt_resource(files))
    return folder / package


def test_every_photo_on_the_list_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "_debian", fetched)
    monkeypatch.setattr(photos, "_wheel", fetched)
    real = photos._resource
    monkeypatch.setattr(photos, "_resource", lambda content, inside: real(content, f"/a/{named(inside)}"))
    assert photos.make_photos(tmp_path) == 78
    counts = {folder.name: len(list(folder.glob("*.png"))) for folder in tmp_path.iterdir()}
    assert counts == {"bsd-like": 24, "set5-like": 5, "validation": 12, "training": 31, "native": 6}
    made = [read_image(path).pixels.shape for path in tmp_path.rglob("*.png")]
    assert all(height % 4 == 0 and width % 4 == 0 for height, width, _ in made)


def named(inside: str) -> str:
    import tomllib

    listed = tomllib.loads((Path(photos.__file__).parent / "photos.toml").read_text())["photo"]
    return str(next(photo["name"] for photo in listed if photo.get("inside") == inside))


def test_a_region_is_cut_out_around_its_centre() -> None:
    photo = photos.PhotoSource("s", "n", "p", (40, 40), region=(0.5, 0, 1, 1))
    cut = np.asarray(photos._cut(png(200, 80), photo))
    assert cut.shape == (40, 40, 3)
    assert cut[..., 0].min() == pytest.approx(255 * 110 / 200, abs=4)
    assert cut[..., 0].max() == pytest.approx(255 * 190 / 200, abs=4)


def test_a_native_part_is_taken_as_it_is() -> None:
    whole = np.asarray(Image.open(io.BytesIO(png(200, 80))))
    cut = np.asarray(photos._cut(png(200, 80), photos.PhotoSource("s", "n", "p", (40, 24), at=(150, 50))))
    assert np.array_equal(cut, whole[50:74, 150:190])


def test_a_machine_without_the_tool_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no-such-tool is not installed"):
        photos._call(["no-such-tool"], tmp_path)


def test_a_package_that_cannot_be_fetched_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="ls absent failed"):
        photos._call(["ls", "absent"], tmp_path)
