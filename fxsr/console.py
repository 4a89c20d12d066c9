"""What reports are printed on."""

from __future__ import annotations

from rich.console import Console


def plain_console(
    *, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False, width: int | None = None
) -> Console:
    """A console that prints names and numbers as they are, without colours for them or pictures in place of :words:."""
    return Console(stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, width=width, highlight=False, emoji=False)
