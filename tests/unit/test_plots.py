"""Files that plots are written to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fxsr.errors import MissingExtraError, UsageError
from fxsr.plots import PLOT_FORMATS, check_plot, plot_file


def test_other_formats_are_refused_before_matplotlib_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"p\.txt: plots are written as \.png, \.svg or \.pdf"):
        check_plot(Path("p.txt"))


def test_a_missing_matplotlib_names_the_small_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib is not installed.*\[plot\]"):
        check_plot(Path("p.png"))


@pytest.mark.parametrize("ending", PLOT_FORMATS)
def test_every_format_is_written(ending: str, tmp_path: Path) -> None:
    with plot_file(tmp_path / f"p{ending}", 2, 1) as figure:
        figure.subplots().plot([0, 1], [0, 1])
    assert (tmp_path / f"p{ending}").stat().st_size > 1000


def test_a_plot_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), plot_file(tmp_path / "p.png", 2, 1):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a$b$.onnx", "a$\\frac$.onnx", "x\udcff.onnx", "a\x1bb.onnx"])
def test_names_in_plots_are_no_formulas_and_need_not_be_text(name: str, tmp_path: Path) -> None:
    with plot_file(tmp_path / "p.png", 2, 1) as figure:
        panel = figure.subplots()
        panel.plot([0, 1], [0, 1], label=name)
        panel.set(title=name)
        panel.legend()
    assert (tmp_path / "p.png").is_file()
