"""The command class of `fxsr run`: lets --ray stand without its address, which Typer's own options can't do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fxsr.cli.command import Command

RAY = "--ray"


class RunCommand(Command):
    """Lets --ray stand without its address, which Typer's own options can't do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_address(args))


def with_address(words: Sequence[str]) -> list[str]:
    """A command line in which a --ray without an address gets the address `auto`.

    The word after --ray is its address unless it is an option, an existing input or a URL.
    """
    words = list(words)
    if RAY in (options := words[: words.index("--")] if "--" in words else words):
        at = options.index(RAY) + 1
        following = options[at : at + 1]
        if not following or _no_address(following[0]):
            words.insert(at, "auto")
    return words


def _no_address(word: str) -> bool:
    if word in ("auto", "local") or word.startswith("ray://"):
        return False
    return word.startswith("-") or "://" in word or Path(word).exists()
