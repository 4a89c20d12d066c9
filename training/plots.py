"""Pictures of a run: an objective's weights over t, and perception against distortion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.files import atomic_path
from fxsr.training.evaluate import Report
from fxsr.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_weights(recipe: Recipe, path: Path) -> None:
    """Every term's weight over t, one panel for each stage, logarithmic so that small weights show.

    Raises:
        MissingExtraError: matplotlib is not installed.
        FxsrError: `path` can't be written, or is of no format that matplotlib knows.
    """
    stages = recipe.stages
    with _figure(path, 5.2 * len(stages), 3.8) as figure:
        for panel, (name, stage) in zip(np.ravel(figure.subplots(1, len(stages))), stages.items(), strict=True):
            for term in stage.terms:
                places, weights = zip(*term.knots, strict=True)
                t = np.union1d(np.linspace(0, 1, 201), places)
                panel.plot(t, np.interp(t, places, weights), label=term.label)
            panel.set(title=f"{recipe.name}: {name}", xlabel="t", ylabel="weight")
            panel.set_yscale("symlog", linthresh=1e-3)
            panel.grid(alpha=0.3)
            panel.legend(fontsize="small")


def plot_tradeoff(report: Report, title: str, path: Path) -> None:
    """Perceptual distance over PSNR, a point for each t. Lower right of bicubic's point is better in both.

    Raises:
        MissingExtraError: matplotlib is not installed.
        FxsrError: `path` can't be written, or is of no format that matplotlib knows.
    """
    with _figure(path, 5.2, 3.8) as figure:
        panel = figure.subplots()
        (_, psnr, distance), *points = [(s.t, s.psnr, s.perceptual) for s in report.scores if s.perceptual is not None]
        panel.plot([x for _, x, _ in points], [y for _, _, y in points], "o-", label="t")
        panel.plot([psnr], [distance], "s", color="grey", label="bicubic")
        for t, x, y in points:
            panel.annotate(f" {t:g}", (x, y))
        panel.set(title=title, xlabel="PSNR of luma, dB", ylabel="perceptual distance")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")


def check_plot(path: Path) -> None:
    """Find out before long work whether plots can be drawn to a file of this kind.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: matplotlib knows no such format.
    """
    with needs("train"):
        from matplotlib.figure import Figure

    figure: Any = Figure()
    if path.suffix.lower().lstrip(".") not in figure.canvas.get_supported_filetypes():
        raise UsageError(f"{path}: plots are written as .png, .svg or .pdf")


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure, drawn without a display, that is written to `path` when the block ends."""
    check_plot(path)
    from matplotlib.figure import Figure

    figure: Any = Figure((width, height), layout="constrained")
    yield figure
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
