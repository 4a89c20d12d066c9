"""What files say besides their pixels: carried over as it is, kept true, or named."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from fxsr.images.reading import open_rows
from fxsr.images.tiff_directory import Entry
from tests import metadata as made
from tests.metadata import (
    CAMERA,
    FORMATS,
    HOST,
    RECORDS,
    TIFF_SPACE,
    exif,
    file_with,
    jpeg,
    photo,
    png,
    segment,
    through,
    xmp,
    xmp_of,
)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_exif_beyond_what_libraries_know_survives(source: str, target: str, tmp_path: Path) -> None:
    assert through(file_with(tmp_path / f"a.{source}", CAMERA), tmp_path / f"b.{target}") == ()
    with Image.open(tmp_path / f"b.{target}") as image:
        found = image.getexif()
        assert (found[0x4746], found[0x013C]) == (5, "iPhone 15 Pro")
        assert found.get_ifd(0x8769)[0x9286] == bytes(range(256)) * 8
        assert found.get_ifd(0x8769)[0xA001] == 1
    assert "Jörg 写真".encode() in (tmp_path / f"b.{target}").read_bytes()


@pytest.mark.parametrize("target", ["png", "webp", "tif"])
def test_exif_of_more_than_64_kb_survives_where_it_can(target: str, tmp_path: Path) -> None:
    long = exif(HOST, details=(Entry(0x927C, 7, b"maker" * 40000),))
    assert through(png(tmp_path / "a.png", made.chunk(b"eXIf", long)), tmp_path / f"b.{target}") == ()
    assert b"maker" * 40000 in (tmp_path / f"b.{target}").read_bytes()


def test_of_exif_that_jpeg_cannot_hold_the_longest_is_named_and_left_out(tmp_path: Path) -> None:
    long = exif(HOST, details=(Entry(0x927C, 7, b"maker" * 40000), Entry.of(0xA001, 3, 1)))
    (note,) = through(png(tmp_path / "a.png", made.chunk(b"eXIf", long)), tmp_path / "b.jpg")
    assert note == "JPEG holds at most 64 KB of EXIF: the maker's note left out"
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x013C] == "iPhone 15 Pro"
        assert image.getexif().get_ifd(0x8769)[0xA001] == 1


def test_exif_keeps_its_bytes_apart_from_what_is_no_longer_true(tmp_path: Path) -> None:
    """Makers' notes refer to places in the structure, so nothing may move."""
    before = exif(
        Entry.of(256, 3, 24),
        HOST,
        details=(Entry.of(0xA002, 3, 24), Entry.of(0xA003, 4, 16), Entry(0x927C, 7, b"x" * 99)),
    )
    through(file_with(tmp_path / "a.jpg", before), tmp_path / "b.jpg", scale=4)
    after = open_rows(tmp_path / "b.jpg").metadata.exif
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 3
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[256] == 96
        assert [image.getexif().get_ifd(0x8769)[tag] for tag in (0xA002, 0xA003)] == [96, 64]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_xmp_of_more_than_64_kb_survives(source: str, target: str, tmp_path: Path) -> None:
    space = (
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"'
    )
    packet = xmp(space, "<photoshop:History>" + "step " * 40000 + "</photoshop:History>")
    Image.new("RGB", (24, 16)).save(tmp_path / "first.webp", lossless=True, xmp=packet)
    assert through(tmp_path / "first.webp", tmp_path / f"a.{source}") == ()
    assert through(tmp_path / f"a.{source}", tmp_path / f"b.{target}") == ()
    found = xmp_of(tmp_path / f"b.{target}")
    assert b"My title" in found
    assert b'xmp:Rating="5"' in found
    assert found.count(b"step ") == 40000
    if source == target == "webp":
        assert found == packet


def test_the_first_part_of_extended_xmp_holds_what_is_short(tmp_path: Path) -> None:
    packet = xmp('xmlns:p="http://p/" p:note="' + "n" * 70000 + '"', "<p:more>" + "m" * 70000 + "</p:more>")
    Image.new("RGB", (24, 16)).save(tmp_path / "a.webp", lossless=True, xmp=packet)
    assert through(tmp_path / "a.webp", tmp_path / "b.jpg") == ()
    with Image.open(tmp_path / "b.jpg") as image:
        first = image.info["xmp"]
    assert b"My title" in first
    assert b"xmpNote:HasExtendedXMP=" in first
    found = xmp_of(tmp_path / "b.jpg")
    assert (found.count(b"n" * 70000), found.count(b"m" * 70000)) == (1, 1)
    assert b"HasExtendedXMP" not in found


def test_an_extension_of_xmp_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    packet = xmp(f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{"A" * 32}"')
    parts = [
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 200, 100) + b"x" * 100)
    ]
    jpeg(tmp_path / "a.jpg", segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet), *parts)
    (note,) = through(tmp_path / "a.jpg", tmp_path / "b.png")
    assert note == "the extension of XMP is left out: it is damaged, or belongs to another image"
    assert b"My title" in xmp_of(tmp_path / "b.png")


@pytest.mark.parametrize("form", ["attribute", "element"])
@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
@pytest.mark.parametrize("target", FORMATS)
def test_an_orientation_is_applied_once_wherever_it_stands(form: str, source: str, target: str, tmp_path: Path) -> None:
    packet = (
        xmp(f'{TIFF_SPACE} tiff:Orientation="6"')
        if form == "attribute"
        else xmp(TIFF_SPACE, "<tiff:Orientation>6</tiff:Orientation>")
    )
    for blob in (exif(Entry.of(274, 3, 6), HOST), b""):
        through(file_with(tmp_path / f"a.{source}", blob, packet), tmp_path / f"b.{target}")
        rows = open_rows(tmp_path / f"b.{target}")
        assert (rows.width, rows.height) == (16, 24)
        assert b"Orientation" in rows.metadata.xmp
        assert b"6" not in rows.metadata.xmp.partition(b"Orientation")[2][:4]
        with Image.open(tmp_path / f"b.{target}") as image:
            assert image.getexif().get(274, 1) == 1


def test_the_orientation_of_exif_is_preferred(tmp_path: Path) -> None:
    packet = xmp(f'{TIFF_SPACE} tiff:Orientation="6"')
    rows = open_rows(file_with(tmp_path / "a.jpg", exif(Entry.of(274, 3, 1)), packet))
    assert (rows.width, rows.height) == (24, 16)
    assert rows.metadata.xmp == packet


def test_what_exif_says_of_the_unturned_photo_is_turned(tmp_path: Path) -> None:
    stored = exif(Entry.of(274, 3, 6), details=(Entry.of(0x9214, 3, 3, 5, 8, 2), Entry.of(0xA002, 4, 24)))
    thumbnail = photo(8, 6)
    thumbnail.save(tmp_path / "small.jpg")
    small = (tmp_path / "small.jpg").read_bytes()
    second = len(stored)
    at = stored.index(struct.pack("<HHI", 0x8769, 4, 1)) + 12  # where the offset of the next directory stands
    stored = stored[:at] + struct.pack("<I", second) + stored[at + 4 :]
    stored += struct.pack("<HHHIIHHIII", 2, 513, 4, 1, second + 30, 514, 4, 1, len(small), 0) + small
    through(file_with(tmp_path / "a.jpg", stored), tmp_path / "b.jpg", scale=2)
    with Image.open(tmp_path / "b.jpg") as image:
        found = image.getexif()
        assert found.get_ifd(0x8769)[0x9214] == (2 * 10, 2 * 3, 2 * 2, 2 * 8)  # (16 - 1 - 5, 3)
        assert found.get_ifd(0x8769)[0xA002] == 32
        assert not found.get_ifd(1)
    assert small not in (tmp_path / "b.jpg").read_bytes()
    plain = stored.replace(struct.pack("<HHIH", 274, 3, 1, 6), struct.pack("<HHIH", 274, 3, 1, 1))
    through(file_with(tmp_path / "c.jpg", plain), tmp_path / "d.jpg", scale=2)
    assert small in (tmp_path / "d.jpg").read_bytes()  # it still shows the same


def test_sizes_in_xmp_are_those_of_the_result(tmp_path: Path) -> None:
    spaces = {
        "tiff": "http://ns.adobe.com/tiff/1.0/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "GPano": "http://ns.google.com/photos/1.0/panorama/",
        "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
        "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
        "xmpTPg": "http://ns.adobe.com/xap/1.0/t/pg/",
    }
    attributes = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    packet = xmp(
        attributes + ' tiff:ImageWidth="24" exif:PixelYDimension="16" GPano:FullPanoWidthPixels="100"',
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="24" stDim:h="16"/>'
        "</mwg-rs:Regions>"
        '<xmpTPg:MaxPageSize stDim:w="8.5" stDim:h="11"/>',
    )
    through(file_with(tmp_path / "a.png", packet=packet), tmp_path / "b.png", scale=4)
    found = xmp_of(tmp_path / "b.png").decode()
    for stated in ('tiff:ImageWidth="96"', 'exif:PixelYDimension="64"', 'GPano:FullPanoWidthPixels="400"'):
        assert stated in found
    assert 'AppliedToDimensions stDim:w="96" stDim:h="64"' in found
    assert 'MaxPageSize stDim:w="8.5" stDim:h="11"' in found


GOOGLE = "http://ns.google.com/photos/1.0/"


@pytest.mark.parametrize(
    ("attributes", "elements", "said"),
    [
        ('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"', "", "the gain map (HDR) is left"),
        (f'xmlns:GCamera="{GOOGLE}camera/" GCamera:MotionPhoto="1"', "", "the video of a motion photo is left out"),
        (f'xmlns:GCamera="{GOOGLE}camera/"', "<GCamera:MicroVideo>1</GCamera:MicroVideo>", "the video of a motion"),
        (f'xmlns:GDepth="{GOOGLE}depthmap/" GDepth:Format="RangeInverse"', "", "the depth map is left out"),
        (
            f'xmlns:C="{GOOGLE}container/" xmlns:I="{GOOGLE}container/item/"',
            '<C:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><C:Item I:Semantic="Other"/></rdf:li></rdf:Seq>'
            "</C:Directory>",
            "what the file holds besides its picture is left out",
        ),
    ],
    ids=["gain map", "motion photo", "micro video", "depth", "directory"],
)  # fmt: skip
def test_claims_of_further_pictures_go_with_a_note(attributes: str, elements: str, said: str, tmp_path: Path) -> None:
    packet = xmp(attributes, elements)
    notes = through(file_with(tmp_path / "a.jpg", packet=packet), tmp_path / "b.jpg")
    assert said in notes[0]
    found = xmp_of(tmp_path / "b.jpg").decode()
    assert "My title" in found
    assert not any(word in found for word in ("hdrgm:Version", ":MotionPhoto", ":MicroVideo", "GDepth:F", "Directory"))


def test_what_else_a_jpeg_file_holds_is_named(tmp_path: Path) -> None:
    path = jpeg(
        tmp_path / "a.jpg",
        segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\0"),
        segment(0xE1, b"FLIR\0\1thermal"),
        segment(0xEB, b"JP\0\1\0\0\0\1"),
        segment(0xEC, b"Ducky\0\1\0\4"),
    )
    path.write_bytes(path.read_bytes() + b"video" + b"SEFT")
    notes = "\n".join(through(path, tmp_path / "b.jpg"))
    for said in ("has further pictures (MPO", "APP1 (FLIR)", "content credentials", "what the camera appended"):
        assert said in notes
    assert "Ducky" not in notes


def blocks(*resources: tuple[int, bytes]) -> bytes:
    return b"".join(
        struct.pack(">4sHHI", b"8BIM", number, 0, len(data)) + data + bytes(len(data) % 2) for number, data in resources
    )


@pytest.mark.parametrize("source", ["jpg", "png", "tif"])
@pytest.mark.parametrize("target", ["jpg", "png", "tif"])
def test_iptc_survives(source: str, target: str, tmp_path: Path) -> None:
    app13 = b"Photoshop 3.0\0" + blocks(
        (0x0404, RECORDS), (0x0BB7, b"path"), (0x040C, b"thumbnail"), (0x03ED, bytes(16))
    )
    jpeg(tmp_path / "first.jpg", segment(0xED, app13))
    assert through(tmp_path / "first.jpg", tmp_path / f"a.{source}") == ()
    assert through(tmp_path / f"a.{source}", tmp_path / f"b.{target}") == ()
    found = open_rows(tmp_path / f"b.{target}").metadata
    assert found.iptc == RECORDS
    assert found.photoshop == blocks((0x0BB7, b"path"))
    if target == "jpg":
        with Image.open(tmp_path / "b.jpg") as image:
            assert image.info["photoshop"][0x0404] == RECORDS
    elif target == "tif":
        with Image.open(tmp_path / "b.tif") as image:
            assert bytes(image.tag_v2[33723]) == RECORDS  # type: ignore[attr-defined]


def test_iptc_that_webp_cannot_hold_is_named(tmp_path: Path) -> None:
    jpeg(tmp_path / "a.jpg", segment(0xED, b"Photoshop 3.0\0" + blocks((0x0404, RECORDS))))
    assert through(tmp_path / "a.jpg", tmp_path / "b.webp") == ("WebP can't hold IPTC: left out",)
