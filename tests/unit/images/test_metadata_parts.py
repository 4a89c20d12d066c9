"""The parts of metadata by themselves: directories, XMP packets, resources, resolutions."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import pytest

from fxsr.images.metadata import exif, jpeg, photoshop, xmp_extension
from fxsr.images.metadata.values import INCH, METRE, Metadata, Resolution
from fxsr.images.metadata.xmp import Packet
from fxsr.images.tiff_directory import (
    EXIF,
    GPS,
    INTEROP,
    Entry,
    Layout,
    read_directory,
    read_entry,
    read_layout,
    write_directories,
    write_structure,
)
from tests.metadata import ascii_entry, xmp

ENTRIES = [
    Entry.of(256, 3, 7),
    Entry.of(270, 4, 1, 2, 3),
    Entry.of(282, 5, 300, 1),
    Entry(305, 7, b"raw"),
    ascii_entry(315, b"a name"),
    Entry.of(33550, 12, 0.5, -2.0, 1e300),
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_directories_are_read_as_they_were_written(order: str, big: bool) -> None:
    layout = Layout(order, big)
    version, pointer = (struct.pack(f"{order}HHH", 43, 8, 0), "Q") if big else (struct.pack(f"{order}H", 42), "I")
    base = 16 if big else 8
    head = (b"II" if order == "<" else b"MM") + version + struct.pack(order + pointer, base)
    inner = {EXIF: ENTRIES[:3], GPS: ENTRIES[3:], INTEROP: ENTRIES[1:2]}
    file = io.BytesIO(head + write_directories(layout, base, ENTRIES, inner))
    opened = read_layout(file)
    assert opened == (layout, base)
    places = read_directory(file, layout, base).places
    assert list(places) == sorted(places)
    assert [read_entry(file, layout, places[entry.tag]) for entry in ENTRIES] == ENTRIES
    for tag, entries in ((EXIF, ENTRIES[:3]), (GPS, ENTRIES[3:])):
        (offset,) = read_entry(file, layout, places[tag]).numbers()
        found = read_directory(file, layout, offset).places
        assert [read_entry(file, layout, found[entry.tag]) for entry in entries] == entries


def test_entries_outside_the_file_are_not_followed() -> None:
    stored = bytearray(write_structure(ENTRIES, {}))
    at = stored.index(struct.pack("<HHI", 315, 2, 7)) + 8
    stored[at : at + 4] = struct.pack("<I", len(stored) - 3)
    places = read_directory(io.BytesIO(stored), Layout(), 8).places
    assert 315 not in places
    assert 270 in places


def test_the_longest_entries_give_way_first() -> None:
    stored = write_structure(
        [Entry(305, 7, b"a" * 500), Entry(306, 7, b"b" * 3000)], {EXIF: [Entry(0x927C, 7, b"c" * 2000)]}
    )
    small, lost = exif.fitted(stored, 1000)
    assert lost == ["entry 0x0132", "the maker's note"]
    assert len(small) <= 1000
    assert b"a" * 500 in small


def test_an_attribute_is_found_by_its_name_alone() -> None:
    packet = xmp("""xmlns:p="http://p/" p:first="x p:note='no'" p:note = 'yes'""")
    found = Packet.of(packet)
    found.change("http://p/ note", lambda old: f"{old} & <no>")
    changed = found.changed()
    assert changed.count(b"p:note='no'") == 1
    assert b'p:note="yes &amp; &lt;no>"' in changed
    assert Packet.of(changed).value("http://p/ note") == "yes & <no>"


def test_the_parts_of_extended_xmp_are_packets_by_themselves() -> None:
    packet = xmp('xmlns:p="http://p/" p:long="' + "x" * 3000 + '"', "<p:more>" + "y" * 2000 + "</p:more>")
    main, extension = xmp_extension.split(packet, 1500)
    assert len(main) <= 1500
    assert Packet.of(extension).value("http://p/ long") == "x" * 3000
    assert xmp_extension.digest(extension) in main
    merged = Packet.of(xmp_extension.merged(main, extension))
    assert merged.value("http://p/ long") == "x" * 3000
    assert b"y" * 2000 in merged.data
    assert merged.value("http://ns.adobe.com/xmp/note/ HasExtendedXMP") is None
    with pytest.raises(ValueError, match="no property can be moved"):
        xmp_extension.split(packet, 200)


def test_resources_that_cannot_be_read_stay_as_they_are() -> None:
    assert photoshop.split(b"8BIM\4\4\0\0\0\0\xff\xff") == (b"", b"8BIM\4\4\0\0\0\0\xff\xff")
    block = b"8BIM" + struct.pack(">H", 0x0BB7) + b"\3abc" + struct.pack(">I", 3) + b"xyz\0"
    assert photoshop.split(block) == (b"", block)


@pytest.mark.parametrize(
    ("resolution", "stored"),
    [
        (None, (0, 1, 1)),
        (Resolution.per_inch(300, 240), (1, 300, 240)),
        (Resolution.per_metre(11811, 11811), (1, 300, 300)),
        (Resolution.per_centimetre(118, 118), (2, 118, 118)),
        (Resolution.of_shape(2, 1), (0, 2, 1)),
    ],
)
def test_jpeg_states_a_resolution_in_the_unit_that_suits_it(
    resolution: Resolution | None, stored: tuple[int, int, int]
) -> None:
    segments, _ = jpeg.header(Metadata(resolution=resolution))
    assert struct.unpack_from(">BHH", segments, 11) == stored


def test_resolutions_are_exact() -> None:
    found = Resolution.per_inch(300, Fraction(1, 3))
    assert found
    assert found.per(METRE) == (Fraction(300 * 10000, 254), Fraction(10000, 254 * 3))
    assert found.per(INCH) == (Fraction(300), Fraction(1, 3))
    assert Resolution.per_inch(0, 300) is None
    assert Resolution.of_shape(5, 5) is None
