"""Plots how latency grows with size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxsr.benchmarks.speed.report import BenchReport, Measurement
from fxsr.plots import add_legend, plot_file


def plot_latency(report: BenchReport, path: Path) -> None:
    """Plot median latency over LR pixels, both logarithmic, with a line for each model and a band up to the 90th
    percentile.

    Raises:
        FxsrError: see `fxsr.plots.plot_file`.
    """
    with plot_file(path, 8.4, 4.2) as figure:
        _draw(report, figure.subplots())


def _draw(report: BenchReport, panel: Any) -> None:
    for model, points in _by_model(report).items():
        pixels = [point.workload.batch * point.workload.height * point.workload.width for point in points]
        (line,) = panel.loglog(pixels, [point.total.median * 1e3 for point in points], "o-", label=model)
        panel.fill_between(
            pixels,
            [point.total.median * 1e3 for point in points],
            [point.total.p90 * 1e3 for point in points],
            color=line.get_color(),
            alpha=0.2,
        )
    shapes = sorted({(w.batch * w.height * w.width, f"{w.height}x{w.width}") for w in _workloads(report)})
    panel.set_xticks([pixels for pixels, _ in shapes], [shape for _, shape in shapes])
    panel.minorticks_off()
    batch = max(workload.batch for workload in _workloads(report))
    panel.set(xlabel="input" if batch == 1 else f"input, batch {batch}", ylabel="latency, ms", title=report.machine)
    panel.title.set(fontsize="x-small", wrap=True)
    panel.grid(alpha=0.3)
    add_legend(panel)


def _by_model(report: BenchReport) -> dict[str, list[Measurement]]:
    models: dict[str, list[Measurement]] = {}
    for each in sorted(report.measurements, key=lambda each: each.workload.height * each.workload.width):
        models.setdefault(each.model, []).append(each)
    return models


def _workloads(report: BenchReport) -> list[Any]:
    return [each.workload for each in report.measurements]
