"""Metadata kind by kind: IPTC, text, GeoTIFF position, resolution, profiles; and what is damaged."""

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
from fxsr.images.metadata.reading import found_blobs
from fxsr.images.metadata.values import MOST_BYTES
from fxsr.images.reading import open_rows
from fxsr.images.tiff_directory import Entry, Layout
from tests import metadata as made
from tests.metadata import (
    CAMERA,
    FORMATS,
    HOST,
    RECORDS,
    TIFF_SPACE,
    ascii_entry,
    exif,
    file_with,
    jpeg,
    photo,
    png,
    segment,
    through,
    tiff,
    tiff_entries,
    xmp,
    xmp_of,
)

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


@pytest.mark.parametrize(
    "text",
    [
        "ImageJ=1.54f\nimages=1\nmin=0.0\nmax=4095.0\n",
        '{"shape": [24, 32]}',
        '<?xml version="1.0" encoding="UTF-8"?><!-- by hand --><OME xmlns="x"><Image/></OME>',
    ],
)
def test_descriptions_of_arrays_do_not_outlive_them(text: str, tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", ascii_entry(270, text.encode()), Entry.of(50839, 1, 73, 74))
    (note,) = through(tmp_path / "a.tif", tmp_path / "b.tif")
    assert note == "the description of sizes and values (by ImageJ, OME or tifffile) is left out"
    assert not {270, 50839} & tiff_entries(tmp_path / "b.tif").keys()
    own = ascii_entry(270, b"ImageJ is what I drew this with")
    assert through(tiff(tmp_path / "c.tif", own), tmp_path / "d.tif") == ()
    assert tiff_entries(tmp_path / "d.tif")[270] == own


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
