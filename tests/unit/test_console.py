from __future__ import annotations

import pytest

from fxsr.errors import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2Jgone.png", r"\x1b[2Jgone.png"),
        ("two\nlines\r.png", r"two\nlines\r.png"),
        ("\x9b31m", r"\x9b31m"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("\u2028", r"\u2028"),
        ("\udcff.png", r"\xff.png"),
        ("\ud800", r"\ud800"),
        ("日本\u3000語 ü 😀 क\u200d.png", "日本\u3000語 ü 😀 क\u200d.png"),
    ],
)
def test_names_reach_a_terminal_without_control_of_it(text: str, expected: str) -> None:
    assert printable(text) == expected
