"""A picture of how latency grows with size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxsr.benchmarks.speed.report import BenchReport, Measurement
from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.files import atomic_path

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Before anything is measured: can a plot be written there?

    Raises:
        UsageError: it is of no format that is known.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: plots are written as {', '.join(FORMATS)}")
    with needs("train"):
        import matplotlib  # noqa: F401


def plot_latency(report: BenchReport, path: Path) -> None:
    """Median latency over LR pixels, both logarithmic, a line for each model; shaded up to the 90th percentile.

    Raises:
        FxsrError: `path` can't be written.
    """
    from matplotlib.figure import Figure

    figure: Any = Figure((6.4, 4.2), layout="constrained")
    panel = figure.subplots()
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
    panel.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _by_model(report: BenchReport) -> dict[str, list[Measurement]]:
    models: dict[str, list[Measurement]] = {}
    for each in sorted(report.measurements, key=lambda each: each.workload.height * each.workload.width):
        models.setdefault(each.model, []).append(each)
    return models


def _workloads(report: BenchReport) -> list[Any]:
    return [each.workload for each in report.measurements]
