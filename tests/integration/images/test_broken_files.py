"""Cut or damaged pixels are an error, with or without an end marker; complete ones without it are read, with a note."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxsr.errors import ImageError
from fxsr.images.image import Picture, Pixels, read_image, write_image
from tests.support import noise

PHOTO: Pixels = np.kron(noise(3, np.uint8, (15, 20)), np.ones((8, 8, 1), np.uint8))
EOI = b"\xff\xd9"


def saved(kind: str, pixels: Pixels = PHOTO, /, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def read(folder: Path, data: bytes) -> Picture:
    (folder / "photo").write_bytes(data)
    return read_image(folder / "photo")


def refused(folder: Path, data: bytes) -> bool:
    try:
        read(folder, data)
    except ImageError as error:
        return "\n" not in str(error)
    return False


JPEGS = {
    "baseline": {"quality": 90},
    "full resolution of colours": {"quality": 90, "subsampling": 0},
    "restart markers": {"quality": 90, "restart_marker_rows": 1},
    "progressive": {"quality": 90, "progressive": True},
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_is_cut_is_refused_whether_or_not_it_has_an_end_marker(name: str, tmp_path: Path) -> None:
    data = saved("JPEG", **JPEGS[name])
    for end in (len(data) // 2, len(data) * 9 // 10, len(data) - 20):
        assert refused(tmp_path, data[:end]), end
        assert refused(tmp_path, data[:end] + EOI), end


@pytest.mark.parametrize("name", JPEGS)
def test_a_complete_jpeg_without_end_marker_is_read_with_a_note(name: str, tmp_path: Path) -> None:
    data = saved("JPEG", **JPEGS[name])
    whole = read(tmp_path, data)
    assert whole.notes == ()
    without = read(tmp_path, data[:-2])
    assert np.array_equal(without.pixels, whole.pixels)
    assert without.notes == ("has no end marker; all its pixels are there",)


def test_a_progressive_jpeg_cut_between_its_scans_is_refused(tmp_path: Path) -> None:
    data = saved("JPEG", quality=90, progressive=True)
    last = data.rindex(b"\xff\xda")
    assert refused(tmp_path, data[:last] + EOI)


def test_damage_inside_a_jpeg_is_found(tmp_path: Path) -> None:
    """Huffman codes fall into step again by themselves, so that some damage can't be told from a picture."""
    data = saved("JPEG", PHOTO[..., 0], quality=90)
    found = 0
    for seed in range(20):
        draw = random.Random(seed)
        at = draw.randrange(len(data) // 3, len(data) - 100)
        found += refused(tmp_path, data[:at] + draw.randbytes(50) + data[at + 50 :])
    assert found >= 15


def test_bytes_left_over_in_a_jpeg_are_damage_unless_they_are_padding(tmp_path: Path) -> None:
    data = saved("JPEG", quality=90)
    assert refused(tmp_path, data[:-2] + b"\1\2\3\4" * 20 + EOI)
    for padding in (bytes(80), b"\xff" * 80):
        assert read(tmp_path, data[:-2] + padding + EOI).notes == ()


def test_what_harms_no_pixel_of_a_jpeg_is_taken(tmp_path: Path) -> None:
    data = saved("JPEG", quality=90)
    whole = read(tmp_path, data).pixels
    later = data[:11] + b"\2" + data[12:]  # JFIF 2.01
    assert np.array_equal(read(tmp_path, later).pixels, whole)
    assert np.array_equal(read(tmp_path, data + b"what a phone appends").pixels, whole)
    gap = read(tmp_path, data[:20] + bytes(3) + data[20:])
    assert np.array_equal(gap.pixels, whole)
    assert gap.notes == ("has 3 bytes between its segments that mean nothing; they are left out",)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (17, 33)])
@pytest.mark.parametrize("name", JPEGS)
def test_small_jpegs_are_not_called_damaged(size: tuple[int, int], name: str, tmp_path: Path) -> None:
    for pixels in (noise(3, np.uint8, size), np.full((*size, 3), 77, np.uint8)):
        picture = read(tmp_path, saved("JPEG", pixels, **JPEGS[name]))
        assert picture.pixels.shape == (*size, 3)


def chunk(name: bytes, data: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ wrong)


def png_parts() -> tuple[bytes, bytes]:
    """The start of a PNG with its header, and the compressed pixels."""
    data = saved("PNG")
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    return data[:33], packed


def test_a_png_that_is_cut_is_refused_whether_or_not_it_has_an_end_marker(tmp_path: Path) -> None:
    data, (head, packed) = saved("PNG"), png_parts()
    end = chunk(b"IEND", b"")
    half = packed[: len(packed) // 2]
    for broken in (
        data[: len(data) // 2],
        data[:33],
        data[: len(data) // 2] + end,
        head + chunk(b"IDAT", half) + end,
        head + chunk(b"IDAT", half),
        head + chunk(b"IDAT", packed, wrong=1) + end,
        head + chunk(b"gAMA", bytes(4), wrong=1) + chunk(b"IDAT", packed) + end,
    ):
        assert refused(tmp_path, broken)


def test_a_png_whose_pixels_are_complete_is_read_with_a_note(tmp_path: Path) -> None:
    data, (head, packed) = saved("PNG"), png_parts()
    for cut in (5, 12, 14):
        picture = read(tmp_path, data[:-cut])
        assert np.array_equal(picture.pixels, PHOTO)
        assert picture.notes == ("has no end marker; all its pixels are there",)
    body = chunk(b"IDAT", packed)
    text = read(tmp_path, head + chunk(b"tEXt", b"A\0b", wrong=1) + body + chunk(b"IEND", b""))
    assert text.notes == ("the checksum of its chunk tEXt is wrong; the chunk is left out",)
    assert read(tmp_path, head + body + chunk(b"tEXt", b"A\0b")[:-3]).notes[0] == "its chunk tEXt is cut and left out"


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_is_judged_by_its_chunks(lossless: bool, tmp_path: Path) -> None:
    data = saved("WEBP", lossless=lossless)
    whole = read(tmp_path, data).pixels
    for cut in (10, len(data) // 2):
        assert refused(tmp_path, data[:-cut])
    for told in (len(data) // 2, len(data) * 2):
        picture = read(tmp_path, data[:4] + struct.pack("<I", told) + data[8:])
        assert np.array_equal(picture.pixels, whole)
        assert "its header states a length" in picture.notes[0]


def test_a_gif_is_judged_by_its_pixels(tmp_path: Path) -> None:
    data = saved("GIF", PHOTO[..., 0])
    whole = read(tmp_path, data)
    assert read(tmp_path, data[:-1]).notes == ("has no end marker; all pixels of its first frame are there",)
    assert np.array_equal(read(tmp_path, data[:-1]).pixels, whole.pixels)
    at = start = data.index(b",", 13 + 3 * 256) + 11
    sizes = []
    while data[at]:
        sizes.append(data[at] + 1)
        at += data[at] + 1
    half = start + sum(sizes[: len(sizes) // 2])
    for broken in (data[: len(data) // 2], data[:half] + b"\0;"):
        assert refused(tmp_path, broken)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "jpeg", "packbits"])
def test_a_tiff_that_is_cut_is_refused(compression: str | None, tmp_path: Path) -> None:
    data = saved("TIFF", compression=compression)
    read(tmp_path, data)
    for end in (len(data) // 2, len(data) - 10, 12):
        assert refused(tmp_path, data[:end])


@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_damage_inside_strips_of_a_tiff_is_found(compression: str, tmp_path: Path) -> None:
    import pyvips

    image = pyvips.Image.new_from_array(PHOTO).copy(interpretation="srgb")
    image.write_to_file(str(tmp_path / "a.tif"), compression=compression, tile=True, tile_width=64, tile_height=64)
    data = (tmp_path / "a.tif").read_bytes()
    found = 0
    for seed in range(10):
        draw = random.Random(seed)
        at = draw.randrange(200, len(data) // 2)
        found += refused(tmp_path, data[:at] + draw.randbytes(50) + data[at + 50 :])
    assert found >= 7


def test_avif_that_is_cut_is_refused_in_words(tmp_path: Path) -> None:
    data = saved("AVIF")
    (tmp_path / "a.avif").write_bytes(data[:-10])
    with pytest.raises(ImageError, match=r"a\.avif: .*it ends too early: 10 bytes are missing"):
        read_image(tmp_path / "a.avif")


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path: Path) -> None:
    from fxsr.images.reading import open_rows

    path = tmp_path / "a.jpg"
    write_image(path, Picture(noise(3, np.uint8, (1200, 1200))))
    rows = open_rows(path)
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(ImageError, match="damaged"):
        rows.whole()
