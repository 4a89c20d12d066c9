"""Image files with metadata that no library at hand writes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from fxsr.images.reading import open_rows
from fxsr.images.tiff_directory import (
    EXIF,
    Entry,
    Layout,
    read_directory,
    read_entry,
    read_layout,
    write_directories,
    write_structure,
)
from fxsr.images.writing import write_rows

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" {attributes}>'
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">My title</rdf:li></rdf:Alt></dc:title>{elements}'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)
LITTLE = Layout()
TIFF_SPACE = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'


def xmp(attributes: str = "", elements: str = "") -> bytes:
    """A packet with a title, and these properties."""
    return XMP.format(attributes=attributes, elements=elements).encode()


def exif(*main: Entry, details: tuple[Entry, ...] = ()) -> bytes:
    """EXIF of these entries."""
    return write_structure(main, {EXIF: details})


def ascii_entry(tag: int, text: bytes) -> Entry:
    """An entry of text."""
    return Entry(tag, 2, text + b"\0")


def photo(width: int = 24, height: int = 16) -> Image.Image:
    """A small image, left half red."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 200, 60, 30
    return Image.fromarray(pixels)


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG file."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(path: Path, *segments: bytes, image: Image.Image | None = None) -> Path:
    """A JPEG file with these segments, and no others for applications."""
    stream = io.BytesIO()
    (image or photo()).save(stream, "JPEG", quality=95)
    data = stream.getvalue()
    assert data[2:4] == b"\xff\xe0"  # JFIF, which is left out
    data = data[4 + int.from_bytes(data[4:6], "big") :]
    path.write_bytes(b"\xff\xd8" + b"".join(segments) + data)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def png(path: Path, *chunks: bytes, behind: bytes = b"", image: Image.Image | None = None) -> Path:
    """A PNG file with these chunks before the pixels, and others behind them."""
    stream = io.BytesIO()
    (image or photo()).save(stream, "PNG")
    data = stream.getvalue()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:-12] + behind + data[-12:])
    return path


def png_chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """Kind and data of all chunks of a PNG file."""
    data, at, found = path.read_bytes(), 8, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def tiff(path: Path, *entries: Entry, layout: Layout = LITTLE) -> Path:
    """A TIFF file of 8-bit RGB with these entries."""
    pixels = np.asarray(photo())
    height, width, _ = pixels.shape
    head = struct.pack(layout.order + "H", 42)
    if layout.big:
        head = struct.pack(layout.order + "HHH", 43, 8, 0)
    at = 16 if layout.big else 8
    end = at + pixels.nbytes
    head = (
        (b"II" if layout.order == "<" else b"MM") + head + struct.pack(layout.order + ("Q" if layout.big else "I"), end)
    )
    shape = [
        *(Entry.of(256, 3, width), Entry.of(257, 3, height), Entry.of(258, 3, 8, 8, 8), Entry.of(259, 3, 1)),
        *(Entry.of(262, 3, 2), Entry.of(273, 4, at), Entry.of(277, 3, 3), Entry.of(278, 3, height)),
        Entry.of(279, 4, pixels.nbytes),
    ]
    path.write_bytes(head + pixels.tobytes() + write_directories(layout, end, [*shape, *entries], {}))
    return path


def tiff_entries(path: Path) -> dict[int, Entry]:
    """The entries of the first directory of a TIFF file."""
    with path.open("rb") as file:
        opened = read_layout(file)
        assert opened
        places = read_directory(file, *opened).places
        return {tag: read_entry(file, opened[0], place) for tag, place in places.items()}


def through(source: Path, target: Path, scale: int = 1) -> tuple[str, ...]:
    """Read an image, write it at another size, and return all notes."""
    rows = open_rows(source)
    lost = write_rows(target, rows, size=(rows.width * scale, rows.height * scale))
    return (*rows.notes, *lost)


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
            chunks = [chunk(b"eXIf", blob)] if blob else []
            chunks += [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)] if packet else []
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


def record(number: int, text: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text


RECORDS = record(25, b"cat") + record(25, b"pet") + record(120, "Straße".encode())
