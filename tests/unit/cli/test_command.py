"""What all commands check about their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from fxsr.cli.app import app
from fxsr.cli.command import Command, check_words
from fxsr.errors import UsageError


def commands() -> Iterator[Any]:
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        if inner := getattr(command, "commands", None):
            waiting.extend(inner.values())
        else:
            yield command


def test_every_command_checks_its_arguments() -> None:
    found = list(commands())
    assert len(found) >= 15
    assert [command.name for command in found if not isinstance(command, Command)] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "-e", ""], "the value of -e is empty"),
        (["a.png", "--engine="], "the value of --engine is empty"),
        (["-o", "", "a.png"], "the value of -o is empty"),
        ([""], "an argument is empty"),
        (["a.png", "", "--suffix", ""], "an argument is empty"),
    ],
)
def test_what_an_unset_variable_leaves_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_words(words)


def test_a_suffix_may_be_empty() -> None:
    check_words(["a.png", "--suffix", "", "--set", "data.lr=", "-o", "b=", "--", "-"])
    check_words(["a.png", "--suffix="])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tmap", "mask", "a.png", "-o", "m.png", "--feather", "inf"], "--feather is inf; it must be a finite number"),
        (["tmap", "texture", "a.png", "-o", "m.png", "--radius", "inf"], "--radius is inf"),
        (["tmap", "gradient", "--size", "9x9", "-o", "m.png", "--angle", "nan"], "--angle is nan"),
        (["run", "a.png", "--t-feather", "inf", "--t-map", "m.png"], "--t-feather is inf"),
        (["run", "a.png", "--outscale", "nan"], "--outscale is nan"),
        (["serve", "--timeout", "nan"], "--timeout is nan"),
        (["serve", "--timeout", "0"], "--timeout is 0; it must be above 0"),
        (["serve", "--max-megabytes", "1e-9"], "--max-megabytes is 1e-09; it must be at least 1e-06"),
        (
            ["eval", "x", "--hr", ".", "--limit", "9" * 20],
            "--limit is beyond all measure; it may be at most 1",
        ),
        (["bench", "x", "--batch", "9" * 20], "--batch is beyond all measure"),
        (["bench", "x", "--runs", "9" * 9], "--runs 999999999: it must be 1 to 1,000,000"),
        (["export", "--tile", "9" * 9], "--tile 999999999: an engine needs a tile size of 1 to 16384"),
        (["export", "--batch", "9" * 6000], "--batch 9999"),
        (["export", "--shapes", f"1x1,1x1,{'9' * 6000}x1"], "--shapes 1x1,1x1,99"),
        (["run", "a.png", "--tile", "9" * 6000], "tile is '9999"),
        (["run", "a.png", "--overlap", "9" * 20], "--overlap is beyond all measure"),
        (["ui", "--max-megapixels", "inf"], "--max-megapixels is inf"),
        (["ui", "--max-megapixels", "-1"], "--max-megapixels is -1; it must be above 0"),
        (["ui", "--host", "192.168..1"], "--host is '192.168..1', which is no address"),
        (["serve", "--host", "a" * 300], "--host is 'aaa"),
    ],
)
def test_impossible_numbers_and_hosts_are_usage_errors_that_name_the_option(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        app(words)
    assert str(raised.value).startswith(message)
