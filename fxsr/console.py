"""What every part may print with: plain consoles, the step under way, JSON. Tables and reports are in `fxsr.cli`."""

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
    """A console that prints names and numbers as they are, without colours for them or pictures in place of :words:."""
    return Console(stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, width=width, highlight=False, emoji=False)


@contextmanager
def steps(silent: bool) -> Iterator[Callable[[str], None]]:
    """A spinner that names the step under way."""
    console = Console(stderr=True, quiet=silent)
    with console.status("starting") as status:
        yield lambda step: status.update(step)


def json_text(document: Any) -> str:
    """JSON, which has no infinity and no NaN: they are null."""
    return json.dumps(_finite(document), indent=2, default=str)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json_text(document))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
