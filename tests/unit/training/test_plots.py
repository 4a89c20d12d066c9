from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fxsr.plots import plot_file
from fxsr.training import plots
from fxsr.training.evaluate import QualityReport, Scores
from fxsr.training.recipes import load_recipe

SCORES = tuple(Scores(t, 30 - (t or 0), 0.9, 50, 0.1, 0.2 - (t or 0) / 10) for t in (None, 0.0, 0.5, 1.0))


@pytest.mark.parametrize("what", ["srot-x4", "fxsr-photo-x4-small", "tradeoff"])
def test_no_legend_covers_a_curve(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []

    @contextmanager
    def kept(path: Path, width: float, height: float) -> Iterator[Any]:
        with plot_file(path, width, height) as figure:
            figures.append(figure)
            yield figure

    monkeypatch.setattr(plots, "plot_file", kept)
    if what == "tradeoff":
        plots.plot_tradeoff(QualityReport(3, SCORES, None), "a model", tmp_path / "p.png")
    else:
        plots.plot_weights(load_recipe(what), tmp_path / "p.png")
    (figure,) = figures
    for panel in figure.axes:
        legend = panel.get_legend().get_window_extent()
        assert not any(legend.overlaps(other.get_window_extent()) for other in figure.axes)
        assert figure.bbox.containsx(legend.x1)  # all of it is in the picture
        assert panel.get_window_extent().width > 0.4 * figure.bbox.width / len(figure.axes)
