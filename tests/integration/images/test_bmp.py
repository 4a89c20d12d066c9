"""BMP files of every kind: what they hold is what Pillow reads, and rows stream in both directions."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxsr.errors import ImageError
from fxsr.images.bmp import write_bmp
from fxsr.images.image import Picture, read_image
from fxsr.images.metadata.values import Resolution
from fxsr.images.reading import open_rows
from fxsr.images.writing import check_target
from tests.support import noise

H, W = 13, 21


def bmp(
    depth: int, rows: list[bytes], compression: int = 0, extra: bytes = b"", height: int = H, **changes: int
) -> bytes:
    """A file with a 40-byte header. `rows` are in the order of the file."""
    data = b"".join(rows)
    start = 14 + 40 + len(extra)
    head = struct.pack(
        "<IiiHHIIiiII", 40, W, height, 1, depth, compression, len(data), *(changes.get(n, 0) for n in "xyci")
    )
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + head + extra + data


def read(folder: Path, data: bytes) -> Picture:
    (folder / "a.bmp").write_bytes(data)
    return read_image(folder / "a.bmp")


def padded(row: bytes) -> bytes:
    return row + bytes(-len(row) % 4)


def table(colours: np.ndarray) -> bytes:
    return b"".join(bytes([*colour[::-1], 0]) for colour in colours.tolist())


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("top_down", [False, True])
def test_palettes_of_every_depth_in_either_order(depth: int, top_down: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(depth)
    palette = rng.integers(0, 256, (1 << depth, 3)).astype(np.uint8)
    indices = rng.integers(0, 1 << depth, (H, W)).astype(np.uint8)
    bits = np.unpackbits(indices[..., None], 2)[..., 8 - depth :].reshape(H, -1)
    rows = [padded(np.packbits(row).tobytes()) for row in bits]
    data = bmp(depth, rows if top_down else rows[::-1], extra=table(palette), height=-H if top_down else H)
    assert np.array_equal(read(tmp_path, data).pixels, palette[indices])


def test_a_palette_of_greys_is_a_grey_image(tmp_path: Path) -> None:
    pixels = noise(1, np.uint8, (H, W))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.bmp")
    assert np.array_equal(read_image(tmp_path / "a.bmp").pixels, pixels)


def test_pixels_of_16_24_and_32_bits(tmp_path: Path) -> None:
    pixels = noise(4, np.uint8, (H, W))
    red, green, blue, alpha = (pixels[..., band].astype(np.uint32) for band in range(4))
    five = (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3
    six = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    expected = [np.rint((pixels[..., :3] >> shift) * (255 / ((1 << 8 - shift) - 1))) for shift in (3, 2)]
    got = read(tmp_path, bmp(16, [padded(row.astype("<u2").tobytes()) for row in five[::-1]])).pixels
    assert np.array_equal(got, expected[0])
    masks = struct.pack("<3I", 0xF800, 0x7E0, 0x1F)
    got = read(tmp_path, bmp(16, [padded(row.astype("<u2").tobytes()) for row in six[::-1]], 3, masks)).pixels
    assert np.array_equal(got[..., 1], expected[1][..., 1])
    assert np.array_equal(got[..., 0], expected[0][..., 0])
    got = read(tmp_path, bmp(24, [padded(row[:, 2::-1].tobytes()) for row in pixels[::-1]])).pixels
    assert np.array_equal(got, pixels[..., :3])
    words = [(alpha << 24 | red << 16 | green << 8 | blue)[row].astype("<u4").tobytes() for row in range(H)[::-1]]
    plain = read(tmp_path, bmp(32, words))
    assert np.array_equal(plain.pixels, pixels[..., :3])
    assert plain.notes == ("the fourth byte of its pixels, which the file does not call alpha, is left out",)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    assert np.array_equal(read(tmp_path, bmp(32, words, 6, masks)).pixels, pixels)


def test_channels_of_ten_bits_keep_their_depth(tmp_path: Path) -> None:
    values = np.full((H, W), 1023 << 20 | 512 << 10 | 1, "<u4")
    masks = struct.pack("<3I", 1023 << 20, 1023 << 10, 1023)
    pixels = read(tmp_path, bmp(32, [row.tobytes() for row in values], 3, masks)).pixels
    assert pixels.dtype == np.uint16
    assert pixels[0, 0].tolist() == [65535, round(512 * 65535 / 1023), round(65535 / 1023)]


def test_compressed_rows(tmp_path: Path) -> None:
    palette = np.arange(48, dtype=np.uint8).reshape(16, 3)
    row8 = bytes([5, 3, 0, 6, 1, 2, 3, 4, 5, 6, 10, 7, 0, 0])
    expected = [3] * 5 + [1, 2, 3, 4, 5, 6] + [7] * 10
    picture = read(tmp_path, bmp(8, [row8] * H + [b"\0\1"], 1, table(palette), c=16))
    assert np.array_equal(picture.pixels, palette[[expected] * H])
    row4 = bytes([5, 0x12, 0, 5, 0x34, 0x56, 0x70, 0, 11, 0xFF, 0, 0])
    expected = [1, 2, 1, 2, 1, 3, 4, 5, 6, 7] + [15] * 11
    picture = read(tmp_path, bmp(4, [row4] * H, 2, table(palette)))
    assert np.array_equal(picture.pixels, palette[[expected] * H])
    skipped = read(tmp_path, bmp(8, [row8, b"\0\2\0\1", row8, b"\0\1"], 1, table(palette), c=16))
    assert skipped.notes == (f"leaves {W * (H - 2)} pixels undefined; they get the first colour of its palette",)
    with pytest.raises(ImageError, match="ends too early"):
        read(tmp_path, bmp(8, [row8] * (H - 1), 1, table(palette), c=16))


def test_the_header_of_os2(tmp_path: Path) -> None:
    pixels = noise(3, np.uint8, (H, W))
    rows = b"".join(padded(row[:, ::-1].tobytes()) for row in pixels[::-1])
    data = struct.pack("<2sIHHI", b"BM", 26 + len(rows), 0, 0, 26) + struct.pack("<IHHHH", 12, W, H, 1, 24) + rows
    assert np.array_equal(read(tmp_path, data).pixels, pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bmp(24, [bytes(64)] * (H - 1)), "ends too early: 63 bytes"),
        (bmp(24, [])[:30], "ends in its header"),
        (bmp(24, [], 5), "around a JPEG or PNG"),
        (bmp(8, [bytes([9] * 24)] * H, extra=bytes(8), c=2), "more than the 2 colours"),
        (bmp(24, [], height=0), "size of 21x0"),
        (bmp(7, []), "BMP with 7 bits per pixel"),
        (bmp(32, [bytes(84)] * H, 3, struct.pack("<3I", 5, 0xFF00, 0xFF)), "its masks of colours"),
    ],
)
def test_what_can_not_be_read_is_said(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=message):
        read(tmp_path, data)


def test_a_file_of_any_size_opens_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.bmp"
    width, height = 14000, 13000
    size = (width + 31) // 32 * 4 * height
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, size, 0, 0, 2, 0) + b"\0\0\0\0\xff\xff\xff\0"
    with path.open("wb") as file:
        file.write(struct.pack("<2sIHHI", b"BM", 62 + size, 0, 0, 62) + head)
        file.truncate(62 + size)
    rows = open_rows(path)
    assert (rows.width, rows.height, rows.channels) == (width, height, 1)
    assert not next(rows.bands).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_written_in_bands_a_file_is_what_pillow_reads(channels: int, tmp_path: Path) -> None:
    pixels = noise(channels, np.uint8, (H, W))
    write_bmp(tmp_path / "a.bmp", H, W, channels, (pixels[top : top + 5] for top in range(0, H, 5)))
    with Image.open(tmp_path / "a.bmp") as image:
        assert np.array_equal(np.asarray(image).reshape(H, W, channels), pixels)
        assert "dpi" not in image.info or image.info["dpi"] == (0, 0)
    assert np.array_equal(read_image(tmp_path / "a.bmp").pixels, pixels)


def test_an_output_beyond_4_gb_is_refused_before_the_work(tmp_path: Path) -> None:
    check_target(tmp_path / "a.bmp", 30000, 30000)
    with pytest.raises(ImageError, match=r"too large for \.bmp"):
        check_target(tmp_path / "a.bmp", 40000, 40000)


def test_metadata_of_a_version_5_header_comes_along(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = bytes(64) * H
    fields = struct.pack("<IiiHHIIiiII", 124, W, H, 1, 24, 0, len(pixels), 11811, 11811, 0, 0)
    head = fields + bytes(16) + b"DEBM" + bytes(48) + struct.pack("<III", 0, 124 + len(pixels), len(profile)) + bytes(4)
    data = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 124) + head + pixels + profile
    metadata = read(tmp_path, data).metadata
    assert metadata.icc == profile
    assert metadata.resolution == Resolution.per_metre(11811, 11811)
