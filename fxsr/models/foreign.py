"""Tells from its first bytes what a file is that is no model file, so that an error can say what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

from fxsr.errors import first_line

_HEAD = 1024
_AGAIN = "download the file again"
_UNPACK = "unpack it, and give the file inside"
_MARKS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer instead of the file itself", "type: git lfs pull"),
    (b"GGUF", "a GGUF file", "give a .pth or .safetensors file"),
    (b"\x89HDF", "an HDF5 file, such as of Keras", "give a .pth or .safetensors file"),
    (b"\x93NUMPY", "a NumPy array", "give a .pth or .safetensors file"),
    (b"7767517", "a network of ncnn", "give a .pth or .safetensors file"),
    (b"%PDF", "a PDF document", _AGAIN),
    (b"\x89PNG", "a PNG image", "give a model file"),
    (b"\xff\xd8\xff", "a JPEG image", "give a model file"),
    (b"GIF8", "a GIF image", "give a model file"),
    (b"\x7fELF", "a program", "give a model file"),
    (b"MZ", "a program for Windows", "give a model file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
)
"""First bytes, what the file is, and what to do."""
_PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_KINDS = {
    "safetensors": (re.compile(rb"[\s\S]{5}\x00\x00\x00\s*\{"), "a safetensors file; rename it to .safetensors"),
    "PyTorch": (
        re.compile(rb"PK\x03\x04|\x80[\x02-\x05]"),
        "a PyTorch file or zip archive; rename it to .pth or .zip",
    ),
    "ONNX": (re.compile(rb"\x08[\x01-\x20](?:\x12|\x1a|\x3a|\x42)"), "an ONNX file; rename it to .onnx"),
}
"""Model files with another ending. An ONNX file's first fields are ir_version, then the producer, domain or graph."""


def read_head(path: Path) -> bytes:
    """A file's first bytes; empty if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def foreign_file(head: bytes) -> str | None:
    """What a file is that is no model file, and what to do. None: that can't be told from its first bytes.

    Args:
        head: the result of `read_head`.
    """
    if not head:
        return f"the file is empty; {_AGAIN}"
    if not head.strip(b"\x00"):
        return f"the file begins with zeros only; {_AGAIN}"
    if _PAGE.match(head):
        return f"this is a web page, as servers send it for a wrong address or without a login; {_AGAIN}"
    for mark, what, advice in _MARKS:
        if head.startswith(mark):
            return f"this is {what}; {advice}"
    if head[257:262] == b"ustar":
        return f"this is a tar archive; {_UNPACK}"
    if head[4:8] == b"TFL3":
        return "this is a TensorFlow Lite model; give a .pth or .safetensors file"
    return None


def explain_content(path: Path, wanted: str, error: BaseException | str) -> str:
    """One line that says why a file is not what its name says.

    Args:
        path: the file.
        wanted: what it should be, such as "an ONNX file".
        error: what its reader said about it.
    """
    head = read_head(path)
    reason = error if isinstance(error, str) else first_line(error)
    if (foreign := foreign_file(head)) is not None:
        return f"{path}: not {wanted}: {foreign}"
    for name, (pattern, kind) in _KINDS.items():
        if name not in wanted and pattern.match(head):
            return f"{path}: not {wanted}, but {kind}"
    if text := _text(head):
        return f"{path}: not {wanted}, but text that begins with {text!r}"
    return f"{path}: not {wanted}, or a damaged one ({reason})"


def _text(head: bytes) -> str:
    """The first line of a text, shortened; empty if this is no text."""
    try:
        text = head[:200].decode("ascii")
    except UnicodeDecodeError:
        return ""
    line = next(iter(text.splitlines()), "")
    return line[:40] if line.isprintable() else ""
