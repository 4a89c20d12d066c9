"""What files say besides their pixels: carried over as it is, kept true, or named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, PngImagePlugin, features

from fxsr.images import writing as image_writing
from fxsr.images.metadata import png as png_metadata
from fxsr.images.metadata.directories import Entry, Layout
from fxsr.images.metadata.reading import found_blobs
from fxsr.images.metadata.values import MOST_BYTES
from fxsr.images.reading import open_rows
from tests import metadata as made
from tests.metadata import TIFF_SPACE, ascii_entry, exif, jpeg, photo, png, segment, through, tiff, tiff_entries, xmp

FORMATS = ["jpg", "png", "webp", "tif"]
RATING, HOST = Entry.of(0x4746, 3, 5), ascii_entry(0x013C, b"iPhone 15 Pro")
ARTIST = ascii_entry(0x013B, "Jörg 写真".encode())
CAMERA = exif(RATING, HOST, ARTIST, details=(Entry(0x9286, 7, bytes(range(256)) * 8), Entry.of(0xA001, 3, 1)))


def file_with(path: Path, blob: bytes = b"", packet: bytes = b"", image: Image.Image | None = None) -> Path:
    """A file of the format of its suffix with EXIF and XMP."""
    image = image or photo()
    match path.suffix:
        case ".jpg":
            parts = [segment(0xE1, b"Exif\0\0" + blob)] if blob else []
            parts += [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)] if packet else []
            return jpeg(path, *parts, image=image)
        case ".png":
            chunks = [made.chunk(b"eXIf", blob)] if blob else []
            chunks += [made.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)] if packet else []
            return png(path, *chunks, image=image)
        case ".webp":
            image.save(path, lossless=True, exif=blob, xmp=packet)
            return path
        case _:
            image.save(path.with_suffix(".png"))
            file_with(path.with_suffix(".jpg"), blob, packet, image)
            through(path.with_suffix(".jpg"), path)
            return path


def xmp_of(path: Path) -> bytes:
    return open_rows(path).metadata.xmp


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


def record(number: int, text: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text


RECORDS = record(25, b"cat") + record(25, b"pet") + record(120, "Straße".encode())


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


TEXTS = [
    made.chunk(b"tEXt", b"parameters\0a cat, Steps: 20"),
    made.chunk(b"tEXt", "Überschrift\0Größe".encode("latin-1")),
    made.chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"{}" * 1000)),
    made.chunk(b"iTXt", b"Title\0\0\0de\0Titel\0" + "Zürich".encode()),
]


def test_png_text_is_carried_over_as_it_is(tmp_path: Path) -> None:
    source = png(tmp_path / "a.png", *TEXTS[:2], behind=b"".join(TEXTS[2:]))
    assert through(source, tmp_path / "b.png", scale=2) == ()
    data = (tmp_path / "b.png").read_bytes()
    assert all(text in data for text in TEXTS)
    kinds = [kind for kind, _ in made.png_chunks(tmp_path / "b.png")]
    assert max(at for at, kind in enumerate(kinds) if kind.endswith(b"Xt")) < kinds.index(b"IDAT")


@pytest.mark.parametrize("target", ["jpg", "webp", "tif", "bmp", "exr"])
def test_png_text_that_a_format_cannot_hold_is_named(target: str, tmp_path: Path) -> None:
    notes = through(png(tmp_path / "a.png", *TEXTS), tmp_path / f"b.{target}")
    (note,) = (note for note in notes if "text" in note)
    assert "text (parameters, Überschrift, workflow, Title)" in note


@pytest.mark.parametrize("source", ["jpg", "gif"])
def test_comments_survive_to_and_from_png(source: str, tmp_path: Path) -> None:
    photo().save(tmp_path / f"a.{source}", comment="Größe".encode())
    assert through(tmp_path / f"a.{source}", tmp_path / "b.png") == ()
    with Image.open(tmp_path / "b.png") as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert image.text == {"Comment": "Größe"}
    assert through(tmp_path / "b.png", tmp_path / "c.jpg") == ()
    with Image.open(tmp_path / "c.jpg") as image:
        assert image.info["comment"] == "Größe".encode()


def test_raw_profiles_of_older_programs_are_understood(tmp_path: Path) -> None:
    blob = b"Exif\0\0" + exif(Entry.of(274, 3, 6), HOST)
    stored = b"\nexif\n%8d\n%b\n" % (len(blob), blob.hex().encode())
    png(tmp_path / "a.png", made.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(stored)))
    assert through(tmp_path / "a.png", tmp_path / "b.jpg") == ()
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == (16, 24)
        assert image.getexif()[0x013C] == "iPhone 15 Pro"


GEO_KEYS = [1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1]
SCALE = Entry.of(33550, 12, 10, 20, 0)
LAYOUTS = [Layout("<"), Layout(">"), Layout("<", big=True), Layout(">", big=True)]


def geotiff(path: Path, *entries: Entry, raster: int = 1, layout: Layout = LAYOUTS[0]) -> Path:
    keys = Entry.of(34735, 3, *GEO_KEYS, raster)
    return tiff(path, keys, ascii_entry(34737, b"WGS 84|"), *entries, layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("raster", "tie"), [(1, (8.0, 4.0)), (2, (9.5, 5.5))], ids=["area", "point"])
def test_a_geotiff_still_lies_where_it_did(
    raster: int, tie: tuple[float, float], layout: Layout, tmp_path: Path
) -> None:
    point = Entry.of(33922, 12, 2, 1, 0, 5e5, 4.6e6, 0)
    source = geotiff(tmp_path / "a.tif", SCALE, point, raster=raster, layout=layout)
    assert through(source, tmp_path / "b.tif", scale=4) == ()
    found = tiff_entries(tmp_path / "b.tif")
    assert found[33550].numbers() == (2.5, 5.0, 0)
    assert found[33922].numbers() == (*tie, 0, 5e5, 4.6e6, 0)
    assert found[34735].numbers() == (*GEO_KEYS, raster)
    assert found[34737].data == b"WGS 84|\0"


def test_the_matrix_of_a_geotiff_is_scaled(tmp_path: Path) -> None:
    matrix = (10.0, 1.0, 0, 5e5, 2.0, -10.0, 0, 4.6e6, 0, 0, 0, 0, 0, 0, 0, 1.0)
    through(geotiff(tmp_path / "a.tif", Entry.of(34264, 12, *matrix), raster=2), tmp_path / "b.tif", scale=4)
    found = np.reshape(tiff_entries(tmp_path / "b.tif")[34264].numbers(), (4, 4))
    middle_of_old = np.array([3.0, 2.0, 0, 1])
    middle_of_new = np.array([3.5 * 4 - 0.5, 2.5 * 4 - 0.5, 0, 1])
    assert found @ middle_of_new == pytest.approx(np.reshape(matrix, (4, 4)) @ middle_of_old)


def test_a_geotiff_that_is_turned_loses_its_place_with_a_note(tmp_path: Path) -> None:
    (note,) = through(geotiff(tmp_path / "a.tif", SCALE, Entry.of(274, 3, 6)), tmp_path / "b.tif")
    assert note == "the GeoTIFF position is left out: the image was turned"
    assert not {33550, 34735} & set(tiff_entries(tmp_path / "b.tif"))


@pytest.mark.parametrize("target", ["png", "jpg", "webp", "bmp"])
def test_a_place_on_earth_that_a_format_cannot_hold_is_named(target: str, tmp_path: Path) -> None:
    source = geotiff(tmp_path / "a.tif", SCALE)
    assert any("GeoTIFF position" in note for note in through(source, tmp_path / f"b.{target}"))


def test_tiff_keeps_entries_that_nobody_knows(tmp_path: Path) -> None:
    entries = [ascii_entry(42113, b"-9999"), Entry.of(65000, 12, 1.5, 2.5), ascii_entry(285, b"page")]
    assert through(tiff(tmp_path / "a.tif", *entries, layout=Layout(">")), tmp_path / "b.tif") == ()
    found = tiff_entries(tmp_path / "b.tif")
    assert [found[entry.tag] for entry in entries] == entries


def test_large_tiff_files_hold_all_metadata_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_writing, "_BIG", 1000)
    file_with(tmp_path / "a.png", CAMERA, xmp())
    assert through(tmp_path / "a.png", tmp_path / "b.tif") == ()
    assert (tmp_path / "b.tif").read_bytes()[:4] == b"II+\0"
    assert through(tmp_path / "b.tif", tmp_path / "c.jpg") == ()
    with Image.open(tmp_path / "c.jpg") as image:
        assert image.getexif()[0x4746] == 5
        assert image.getexif().get_ifd(0x8769)[0x9286] == bytes(range(256)) * 8
    assert xmp_of(tmp_path / "c.jpg") == xmp()


def test_iptc_that_a_tiff_file_calls_longs_is_whole(tmp_path: Path) -> None:
    records = RECORDS + bytes(-len(RECORDS) % 4)
    for layout in LAYOUTS[:2]:
        longs = Entry.of(33723, 4, *struct.unpack(f"{layout.order}{len(records) // 4}I", records))
        through(tiff(tmp_path / "a.tif", longs, layout=layout), tmp_path / "b.jpg")
        assert open_rows(tmp_path / "b.jpg").metadata.iptc == RECORDS


ALL = [*FORMATS, "bmp"]


@pytest.mark.parametrize("source", ALL)
@pytest.mark.parametrize("target", ALL)
def test_resolution_is_neither_lost_nor_invented(source: str, target: str, tmp_path: Path) -> None:
    if source == "webp":
        stated_in_exif = exif(Entry.of(282, 5, 300, 1), Entry.of(283, 5, 240, 1), Entry.of(296, 3, 2))
        photo().save(tmp_path / "a.webp", exif=stated_in_exif)
    else:
        photo().save(tmp_path / f"a.{source}", dpi=(300, 240))
    through(tmp_path / f"a.{source}", tmp_path / f"b.{target}", scale=2)
    with Image.open(tmp_path / f"b.{target}") as image:
        stated = image.getexif()
        per_unit = 2.54 if stated.get(296) == 3 else 1
        found = image.info.get("dpi") or (per_unit * stated[282], per_unit * stated[283])
        assert [float(side) for side in found] == pytest.approx([300, 240], abs=0.1)
    photo().save(tmp_path / f"c.{source}")
    if source == "bmp":  # Pillow invents one
        data = bytearray((tmp_path / "c.bmp").read_bytes())
        data[38:46] = bytes(8)
        (tmp_path / "c.bmp").write_bytes(data)
    through(tmp_path / f"c.{source}", tmp_path / f"d.{target}", scale=2)
    assert open_rows(tmp_path / f"d.{target}").metadata.resolution is None
    with Image.open(tmp_path / f"d.{target}") as image:
        assert image.info.get("dpi", (0, 0)) in {(0, 0), (1, 1), (1.0, 1.0)}
        assert 282 not in image.getexif()
        assert "jfif" not in image.info or image.info["jfif_unit"] == 0


def test_photos_turned_by_a_quarter_swap_their_resolution(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.jpg", dpi=(300, 240), exif=b"Exif\0\0" + exif(Entry.of(274, 3, 6)))
    through(tmp_path / "a.jpg", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["dpi"] == pytest.approx((240, 300), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_icc_profiles_are_written_whole(suffix: str, tmp_path: Path) -> None:
    image = pyvips.Image.black(2, 2, bands=3).copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    profile = bytes(image.get("icc-profile-data"))
    profile = struct.pack(">I", len(profile) + 200000) + profile[4:] + bytes(200000)  # more than one segment
    photo().save(tmp_path / "a.png", icc_profile=profile)
    assert through(tmp_path / "a.png", tmp_path / f"b{suffix}") == ()
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["icc_profile"] == profile


def test_an_image_that_is_streamed_keeps_its_metadata(tmp_path: Path) -> None:
    """One above the size that is handed to libvips whole."""
    pixels = np.arange(1300 * 1200 * 3, dtype=np.uint32).astype(np.uint8).reshape(1300, 1200, 3)
    source = file_with(tmp_path / "a.png", CAMERA, xmp(), Image.fromarray(pixels))
    for target in ("b.png", "b.jpg", "b.webp", "b.tif"):
        assert through(source, tmp_path / target) == ()
        rows = open_rows(tmp_path / target)
        assert rows.metadata.xmp == xmp()
        with Image.open(tmp_path / target) as image:
            assert image.getexif()[0x4746] == 5
        if target in ("b.png", "b.tif"):
            assert np.array_equal(rows.whole(), pixels)


def test_avif_is_read_upright_with_its_metadata(tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no encoder for AVIF")
    blob, packet = exif(Entry.of(274, 3, 6), HOST), xmp(f'{TIFF_SPACE} tiff:Orientation="6"')
    photo(64, 48).save(tmp_path / "a.avif", exif=b"Exif\0\0" + blob, xmp=packet)
    assert through(tmp_path / "a.avif", tmp_path / "b.jpg") == ()
    assert b'tiff:Orientation="1"' in xmp_of(tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == (48, 64)
        assert (image.getexif().get(274, 1), image.getexif()[0x013C]) == (1, "iPhone 15 Pro")


def pointing(stored: bytes, tag: int, offset: int) -> bytes:
    """EXIF whose entry of this tag holds an offset."""
    at = stored.index(struct.pack("<HHI", tag, 4, 1)) + 8
    return stored[:at] + struct.pack("<I", offset) + stored[at + 4 :]


DAMAGED = {
    "a directory that holds itself": pointing(exif(Entry.of(274, 3, 6), details=(HOST,)), 0x8769, 8),
    "a directory that is its own thumbnail": exif(Entry.of(274, 3, 6))[:-4] + struct.pack("<I", 8),
    "a directory elsewhere": pointing(exif(Entry.of(274, 3, 6), details=(HOST,)), 0x8769, 0xFFFFFFFF),
    "a length that lies": exif(Entry.of(274, 3, 6), HOST).replace(
        struct.pack("<HHI", 0x013C, 2, 14), struct.pack("<HHI", 0x013C, 2, 0x7FFFFFFF)
    ),
    "more entries than bytes": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHIHxx", 274, 3, 1, 6),
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("source", ["jpg", "png"])
def test_damaged_exif_never_ends_a_run(damage: str, source: str, tmp_path: Path) -> None:
    for target in FORMATS:
        through(file_with(tmp_path / f"a.{source}", DAMAGED[damage]), tmp_path / f"b.{target}")
        rows = open_rows(tmp_path / f"b.{target}")
        assert (rows.width, rows.height) == (16, 24)


def test_exif_that_is_none_is_named(tmp_path: Path) -> None:
    notes = through(file_with(tmp_path / "a.jpg", b"no EXIF at all"), tmp_path / "b.jpg")
    assert notes == ("the EXIF is left out: it is damaged",)


@pytest.mark.parametrize(
    "packet",
    [
        b"<x:xmpmeta",
        xmp(f'{TIFF_SPACE} tiff:Orientation="6"').replace(b"My title", b"\xff\xfe"),
        b"<!DOCTYPE r [<!ENTITY a 'aaaaaaaaaa'>]>" + xmp(f'{TIFF_SPACE} tiff:Orientation="6"'),
        b"<a>" * 5000 + b"</a>" * 5000,
        b"Orientation" + b" " * 50000,
    ],
    ids=["cut", "not UTF-8", "entities", "deep", "spaces"],
)
def test_damaged_xmp_is_carried_over_with_its_orientation_set(packet: bytes, tmp_path: Path) -> None:
    through(file_with(tmp_path / "a.jpg", exif(Entry.of(274, 3, 6)), packet), tmp_path / "b.png")
    assert xmp_of(tmp_path / "b.png") == packet.replace(b'Orientation="6"', b'Orientation="1"')


def test_bombs_in_texts_are_left_out_or_carried_over_packed(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(MOST_BYTES + 1), 9)
    texts = [
        made.chunk(b"zTXt", b"Comment\0\0" + bomb),
        made.chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb),
        made.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
    ]
    notes = through(png(tmp_path / "a.png", *texts), tmp_path / "b.png")
    assert notes == (
        "Raw profile type exif is left out: it is damaged or too long",
        "XML:com.adobe.xmp is left out: it is damaged or too long",
    )
    assert texts[0] in (tmp_path / "b.png").read_bytes()
    (note,) = through(tmp_path / "b.png", tmp_path / "c.jpg")
    assert note == "JPEG can't hold text (Comment): left out"


def test_only_so_much_metadata_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_metadata, "MOST_BYTES", 1000)
    texts = [made.chunk(b"tEXt", b"%d\0" % number + b"x" * 600) for number in range(5)]
    (note,) = through(png(tmp_path / "a.png", *texts), tmp_path / "b.png")
    assert note == "metadata beyond 64 MB is left out"
    assert (tmp_path / "b.png").read_bytes().count(b"tEXt") == 1


@pytest.mark.parametrize(("marker", "note"), [(b"urn:com:apple:photos:2020:aux:hdrgainmap", "the gain map"), (b"", "")])
def test_what_else_heic_holds_is_named(marker: bytes, note: str, tmp_path: Path) -> None:
    meta = b"\0\0\0\0" + marker
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + struct.pack(">I4s", len(meta) + 8, b"meta") + meta)
    assert "".join(found_blobs(path, b"", b"").notes).startswith(note)
    assert bool(note) == bool(found_blobs(path, b"", b"").notes)


@pytest.mark.parametrize("target", [*FORMATS, "bmp", "exr"])
def test_text_that_is_not_utf_8_ends_nothing(target: str, tmp_path: Path) -> None:
    """libvips names its fields after it, and pyvips can't decode such names."""
    latin = "Größe".encode("latin-1")
    packed = zlib.compress(latin)
    sources = [
        png(tmp_path / "key.png", made.chunk(b"tEXt", latin + b"\0x"), made.chunk(b"zTXt", latin + b"\0\0" + packed)),
        png(tmp_path / "itxt.png", made.chunk(b"iTXt", b"Title\0\0\0de\0" + latin + b"\0" + latin)),
        jpeg(tmp_path / "com.jpg", segment(0xFE, latin), segment(0xE1, latin), segment(0xE0, latin)),
        file_with(tmp_path / "exif.jpg", exif(ascii_entry(0x013B, latin))),
        tiff(tmp_path / "a.tif", ascii_entry(315, latin), Entry(700, 1, latin)),
    ]
    photo().save(tmp_path / "a.gif", comment=latin)
    for source in (*sources, tmp_path / "a.gif"):
        for note in through(source, tmp_path / f"b.{target}"):
            assert note.isprintable()
        assert open_rows(source).whole().shape == (16, 24, 3)
