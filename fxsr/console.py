"""Consoles, progress spinners and JSON output for all parts. Tables and reports are in `fxsr.cli`."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories that change how a terminal shows text, or have no glyph: control characters, invisible format
characters such as those that reverse the direction, halves of surrogate pairs, and separators of lines."""
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need."""


def printable(text: str) -> str:
    """Text from outside, such as a file's name, that a terminal may be given.

    Characters that would control the terminal or break the line become escapes such as `\\x1b`. A byte that is not
    valid in the file system's encoding, which Python keeps as a lone surrogate, becomes `\\xff`.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in _UNSAFE and character not in _JOINERS:
        return character.encode("unicode_escape", "backslashreplace").decode()
    return character


def plain_console(
    *, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False, width: int | None = None
) -> Console:
    """A console that prints text as it is: it colours no numbers or paths, and replaces no :words: by emoji."""
    return Console(stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, width=width, highlight=False, emoji=False)


@contextmanager
def steps(silent: bool) -> Iterator[Callable[[str], None]]:
    """Show a spinner on standard error; call what is yielded to name the current step. `silent` shows nothing."""
    console = Console(stderr=True, quiet=silent)
    with console.status("starting") as status:
        yield lambda step: status.update(step)


def json_text(document: Any) -> str:
    """`document` as indented JSON. Infinity and NaN, which JSON lacks, become null."""
    return json.dumps(_finite(document), indent=2, default=str)


def print_json(document: Any) -> None:
    """Print one JSON document to standard output."""
    print(json_text(document))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
