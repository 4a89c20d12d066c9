"""Consoles, progress spinners and JSON output for all parts. Tables and reports are in `fxsr.cli`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console


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
