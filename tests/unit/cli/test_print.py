"""What commands print of files that others made."""

from __future__ import annotations

import pytest

from fxsr.cli.print import print_facts
from fxsr.errors import foreign_name


def test_control_characters_of_a_model_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"licence": "\x1b]0;owned\x07\x1b[2J", "na\x9bme": "M\u00fcller\u202e"}, as_json=False)
    shown = capsys.readouterr().out
    assert r"\x1b]0;owned\x07\x1b[2J" in shown
    assert "M\u00fcller" in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_long_names_are_cut() -> None:
    assert foreign_name("x" * 100, 5) == "xxxxx..."
