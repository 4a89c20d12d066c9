"""Plots of a run: the weights of an objective over t, and the perceptual distance over PSNR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fxsr.plots import add_legend, plot_file
from fxsr.training.evaluate import QualityReport
from fxsr.training.recipe import Recipe


def plot_weights(recipe: Recipe, path: Path) -> None:
    """Plot the weight of every term over t, one panel per stage, on a logarithmic axis so that small weights show.

    Raises:
        FxsrError: see `fxsr.plots.plot_file`.
    """
    stages = recipe.stages
    with plot_file(path, 7.2 * len(stages), 3.8) as figure:
        for panel, (name, stage) in zip(np.ravel(figure.subplots(1, len(stages))), stages.items(), strict=True):
            for term in stage.terms:
                places, weights = zip(*term.knots, strict=True)
                t = np.union1d(np.linspace(0, 1, 201), places)
                panel.plot(t, np.interp(t, places, weights), label=term.label)
            panel.set(title=f"{recipe.name}: {name}", xlabel="t", ylabel="weight")
            panel.set_yscale("symlog", linthresh=1e-3)
            panel.grid(alpha=0.3)
            add_legend(panel)


def plot_tradeoff(report: QualityReport, title: str, path: Path) -> None:
    """Plot perceptual distance over PSNR, one point per t. Below and right of the point of bicubic is better in both.

    Raises:
        FxsrError: see `fxsr.plots.plot_file`.
    """
    with plot_file(path, 6.2, 3.8) as figure:
        panel = figure.subplots()
        (_, psnr, distance), *points = [(s.t, s.psnr, s.perceptual) for s in report.scores if s.perceptual is not None]
        panel.plot([x for _, x, _ in points], [y for _, _, y in points], "o-", label="t")
        panel.plot([psnr], [distance], "s", color="grey", label="bicubic")
        for t, x, y in points:
            panel.annotate(f" {t:g}", (x, y))
        panel.set(title=title, xlabel="PSNR of luma, dB", ylabel="perceptual distance")
        panel.grid(alpha=0.3)
        add_legend(panel)
