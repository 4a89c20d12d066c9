"""XMP packets, changed in place: what is not touched keeps its bytes.

expat tells where elements begin and end; the packet is not written anew. Packets that declare a document type, which
could hide entities, count as damaged.

Source: ISO 16684-1 (XMP part 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DESCRIPTION, ROOT = f"{RDF} Description", f"{RDF} RDF"
_ITEM = f"{RDF} li"
_DEEPEST, _MOST = 100, 200_000
"""Elements inside of each other, and in all."""
_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/?>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)[1-8]""")


@dataclass(slots=True)
class Element:
    """An element of the packet. Names are "namespace name"."""

    name: str
    raw: bytes
    """The name in the file, such as `rdf:Description`."""
    begin: int
    inner: int
    """End of its start tag."""
    end: int
    outer: Element | None
    attributes: Mapping[str, tuple[bytes, str]]
    """The name in the file, and the value, by name."""
    text: str = ""
    children: int = 0

    @property
    def is_subject(self) -> bool:
        """Whether this is one of the elements whose attributes and contents are the properties."""
        return self.name == DESCRIPTION and self.outer is not None and self.outer.name == ROOT


@dataclass
class Packet:
    """A packet, and what is to be changed in it."""

    data: bytes
    elements: list[Element]
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)

    @staticmethod
    def of(data: bytes) -> Packet:
        """Raises: ValueError: it is damaged, or no XMP."""
        elements = _elements(data)
        if not any(element.name == ROOT for element in elements):
            raise ValueError("no XMP")
        return Packet(data, elements)

    @property
    def root(self) -> Element:
        """The element that holds all descriptions."""
        return next(element for element in self.elements if element.name == ROOT)

    def value(self, name: str) -> str | None:
        """The text of a property, wherever it stands."""
        for element in self.elements:
            if name in element.attributes:
                return element.attributes[name][1]
            if element.name == name and not element.children:
                return element.text.strip()
        return None

    def change(self, name: str, new: Callable[[str], str], within: str | None = None) -> None:
        """Replace the text of a property by what a function makes of it, wherever it stands, or within another one."""
        for element in self.elements:
            if within and within not in _path(element):
                continue
            if name in element.attributes:
                raw, old = element.attributes[name]
                begin, end = self.attribute(element, raw)
                self.edits.append((begin, end, b' %b="%b"' % (raw, escaped(new(old)))))
            elif element.name == name and not element.children and element.end > element.inner:
                close = self.data.rindex(b"<", element.inner, element.end)
                self.edits.append((element.inner, close, escaped(new(element.text.strip()))))

    def remove(self, wanted: Callable[[str], bool]) -> bool:
        """Remove the properties whose "namespace name" is wanted. Whether there were any."""
        found = False
        for element in self.elements:
            if wanted(element.name):
                self.edits.append((element.begin, element.end, b""))
                found = True
            for name, (raw, _) in element.attributes.items():
                if wanted(name):
                    self.edits.append((*self.attribute(element, raw), b""))
                    found = True
        return found

    def changed(self) -> bytes:
        """The packet after all changes. Changes inside of what is removed are dropped."""
        parts, at = [], 0
        for begin, end, new in sorted(self.edits, key=lambda edit: (edit[0], -edit[1])):
            if begin >= at:
                parts += [self.data[at:begin], new]
                at = end
        return b"".join([*parts, self.data[at:]])

    def attribute(self, element: Element, raw: bytes) -> tuple[int, int]:
        """Where an attribute of this name in the file lies, with the space before it."""
        at = element.begin + 1 + len(element.raw)
        while found := _ATTRIBUTE.match(self.data, at, element.inner):
            if found[1] == raw:
                return found.span()
            at = found.end()
        raise ValueError("an attribute is not where it should be")


def _path(element: Element) -> Iterable[str]:
    """The names of an element and of those around it."""
    at: Element | None = element
    while at:
        yield at.name
        at = at.outer


def normal(data: bytes) -> bytes:
    """A packet in UTF-8. What can't be read stays as it is."""
    for encoding, sign in (
        ("utf-16-le", b"<\0"),
        ("utf-16-be", b"\0<"),
        ("utf-16", b"\xff\xfe"),
        ("utf-16", b"\xfe\xff"),
    ):
        if data.startswith(sign):
            try:
                return data.decode(encoding).encode()
            except UnicodeDecodeError:
                return data
    return data.strip(b"\0")


def with_orientation_one(data: bytes) -> bytes:
    """A damaged packet whose orientation is 1, wherever one seems to be stated."""
    return _ORIENTATION.sub(rb"\g<1>1", data)


def _elements(data: bytes) -> list[Element]:
    """All elements, in the order of their starts.

    Raises:
        ValueError: the XML is damaged, or declares a document type.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.namespace_prefixes = True
    parser.buffer_text = True
    elements: list[Element] = []
    stack: list[Element] = []
    # Indices count from the first byte that expat gets, and it takes no space before an XML declaration.
    shift = len(data) - len(data.lstrip(b"\xef\xbb\xbf \t\r\n"))

    def name_of(full: str) -> tuple[str, bytes]:
        space, _, rest = full.partition(" ")
        local, _, prefix = rest.partition(" ")
        if not local:
            return f" {space}", space.encode()
        return f"{space} {local}", (f"{prefix}:{local}" if prefix else local).encode()

    def start(full: str, attributes: dict[str, str]) -> None:
        begin = parser.CurrentByteIndex + shift
        tag = _TAG.match(data, begin)
        if not tag:
            raise ValueError("a tag is not where it should be")
        named = {}
        for key, value in attributes.items():
            name, raw = name_of(key)
            named[name] = raw, value
        outer = stack[-1] if stack else None
        if outer:
            outer.children += 1
        stack.append(Element(*name_of(full), begin, tag.end(), tag.end(), outer, named))
        if stack[-1].name != _ITEM:  # of those there may be hundreds of thousands, and none is asked for
            elements.append(stack[-1])
        if len(stack) > _DEEPEST or len(elements) > _MOST:
            raise ValueError("too many elements")

    def stop(full: str) -> None:
        element = stack.pop()
        if not data[element.begin : element.inner].endswith(b"/>"):
            element.end = data.index(b">", parser.CurrentByteIndex + shift) + 1

    def characters(text: str) -> None:
        if stack and len(stack[-1].text) < 100:
            stack[-1].text += text[:100]

    def refuse(*_: Any) -> None:
        raise ValueError("a document type is declared")

    parser.StartElementHandler, parser.EndElementHandler = start, stop
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, refuse
    try:
        parser.Parse(data[shift:], True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"damaged XML ({error})") from error
    return elements


def escaped(text: str) -> bytes:
    """A text as the value of an attribute or an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").encode(errors="replace")
