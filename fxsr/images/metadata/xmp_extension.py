"""Extended XMP: what JPEG's segments can't hold of a packet, in an extension that the packet names.

Source: Adobe XMP part 3, 1.1.3.1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from fxsr.images.metadata.xmp import RDF, Element, Packet, escaped

_NOTE = "http://ns.adobe.com/xmp/note/"
_HAS_EXTENSION = f"{_NOTE} HasExtendedXMP"
_ABOUT = f"{RDF} about"
_NOTE_BYTES = 300
"""What a reference to an extension takes, at most."""
_DECLARATION = re.compile(rb"""\sxmlns(?::[^\s=]+)?\s*=\s*(?:"[^"]*"|'[^']*')""")


def digest(extension: bytes) -> bytes:
    """The name by which a packet refers to its extension."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()


def merged(main: bytes, extension: bytes) -> bytes:
    """One packet from that of a JPEG file and its extension.

    Raises:
        ValueError: one of them can't be read.
    """
    packet, other = Packet.of(main), Packet.of(extension)
    packet.remove(lambda name: name == _HAS_EXTENSION)
    root = packet.root
    if root.end == root.inner:
        raise ValueError("empty XMP")
    close = main.rindex(b"<", root.inner, root.end)
    parts = b""
    for element in other.elements:
        if element.is_subject:
            tag = extension[element.begin : element.inner]
            own = {_declared(raw) for raw in _DECLARATION.findall(tag)}
            missing = b"".join(raw for raw in _declarations(other, element) if _declared(raw) not in own)
            name_end = 1 + len(element.raw)
            parts += tag[:name_end] + missing + tag[name_end:] + extension[element.inner : element.end]
    packet.edits.append((close, close, parts))
    return packet.changed()


def split(data: bytes, most: int) -> tuple[bytes, bytes]:
    """A packet of at most so many bytes, and an extension that holds the longest of its properties.

    Raises:
        ValueError: it can't be read, or is not made of such properties.
    """
    before, end, after = data.rpartition(b"<?xpacket end")
    packet = Packet.of(before.rstrip() + end + after)  # between them, packets have room for changes
    properties = sorted(_properties(packet), key=lambda part: part[1] - part[2])
    moved: list[tuple[Element, int, int]] = []
    size = len(packet.data) + _NOTE_BYTES
    while size > most:
        if not properties:
            raise ValueError("no property can be moved")
        moved.append(properties.pop(0))
        size -= moved[-1][2] - moved[-1][1]
    owners = {owner.begin: owner for owner, _, _ in moved}.values()
    parts = b"".join(
        _description(packet, owner, [packet.data[begin:end] for each, begin, end in moved if each is owner])
        for owner in owners
    )
    extension = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%b">%b</rdf:RDF></x:xmpmeta>' % (
        RDF.encode(),
        parts,
    )
    packet.edits += [(begin, end, b"") for _, begin, end in moved]
    note = b'<%b %babout="" xmlns:xmpNote="%b" xmpNote:HasExtendedXMP="%b"/>' % (
        _prefix(packet.root) + b"Description",
        _prefix(packet.root),
        _NOTE.encode(),
        digest(extension),
    )
    packet.edits.append((packet.root.inner, packet.root.inner, note))
    return packet.changed(), extension


def _properties(packet: Packet) -> Iterator[tuple[Element, int, int]]:
    """The properties: whose description each belongs to, where it begins, and where it ends."""
    for element in packet.elements:
        if element.is_subject:
            for name, (raw, _) in element.attributes.items():
                if name != _ABOUT:
                    yield element, *packet.attribute(element, raw)
        elif element.outer and element.outer.is_subject:
            yield element.outer, element.begin, element.end


def _description(packet: Packet, owner: Element, properties: list[bytes]) -> bytes:
    """A description of the same subject with these properties, which are attributes or elements."""
    about = escaped(owner.attributes[_ABOUT][1]) if _ABOUT in owner.attributes else b""
    attributes = b"".join(each for each in properties if not each.startswith(b"<"))
    elements = b"".join(each for each in properties if each.startswith(b"<"))
    declarations = b"".join(_declarations(packet, owner))
    head = b'<%b %babout="%b"' % (owner.raw, _prefix(owner), about)
    return b"%b%b%b>%b</%b>" % (head, declarations, attributes, elements, owner.raw)


def _prefix(element: Element) -> bytes:
    """The prefix of RDF's namespace, with its colon."""
    prefix, colon, _ = element.raw.rpartition(b":")
    return prefix + colon


def _declarations(packet: Packet, element: Element) -> list[bytes]:
    """The declarations of namespaces that hold in an element, of each prefix the innermost one."""
    found: dict[bytes, bytes] = {}
    at: Element | None = element
    while at:
        for raw in _DECLARATION.findall(packet.data[at.begin : at.inner]):
            found.setdefault(_declared(raw), raw)
        at = at.outer
    return list(found.values())


def _declared(declaration: bytes) -> bytes:
    return declaration.partition(b"=")[0].strip()
