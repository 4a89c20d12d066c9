"""What every command checks about its arguments: none is empty by mistake, and numbers are finite and not huge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from fxsr.errors import UsageError

_MAY_BE_EMPTY = "--suffix"
_LARGEST = 1_000_000_000
"""Limit of whole numbers that have no narrower one."""


class Command(TyperCommand):
    """A command that refuses what a shell's unset variable leaves, and numbers that are infinite, NaN or huge."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        check_words(args)
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{parameter.opts[0]} is {value}; it must be a finite number")
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise UsageError(f"{parameter.opts[0]} is beyond all measure; it may be at most {_LARGEST:,}")
        return rest


def check_words(words: Sequence[str]) -> None:
    """Refuse empty words on a command line: as a path, an empty text would mean the current folder.

    Raises:
        UsageError: an argument is empty, or the value of an option that needs one.
    """
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.partition("=")
        if equals and name.startswith("--") and not value:
            option = name
        elif not word:
            option = before if before.startswith("-") else ""
        else:
            continue
        if option != _MAY_BE_EMPTY:
            what = f"the value of {option}" if option else "an argument"
            raise UsageError(f"{what} is empty; give one, or leave it out (is a variable of the shell not set?)")
