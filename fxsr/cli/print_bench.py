"""Prints the results of `fxsr bench`: a line for each figure of a single measurement, a table for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fxsr.console import plain_console

if TYPE_CHECKING:
    from fxsr.benchmarks.speed.bench import Stats, Workload
    from fxsr.benchmarks.speed.report import BenchReport, Measurement, SpeedComparison

_SLOWEST = 15
"""Number of layers to print."""
_MIN_WIDTH = 200
"""Width of the table in a file or pipe, in characters."""


def print_bench(report: BenchReport, *, quiet: bool) -> None:
    """Print a report. What could not be measured goes to standard error."""
    console = plain_console(quiet=quiet, soft_wrap=True)
    err = plain_console(stderr=True, soft_wrap=True)
    if len(report.measurements) == 1:
        _print_lines(report.measurements[0], console)
    else:
        names = _letters(report)
        for one in {one.model: one for one in report.measurements}.values():
            how = f"{one.backend} on {one.device}, {one.precision}, {_style(one.workload, one.baked_t)}"
            console.print(f"{names[one.model]}  {one.model} ({how})", markup=False)
        # columns are never truncated: a terminal wraps long lines
        plain_console(quiet=quiet, width=max(console.width, _MIN_WIDTH)).print(_table(report, names))
    for each in report.measurements:
        if each.layers:
            _print_layers(each, console)
    console.print(report.machine, markup=False)
    if not quiet:
        for each in report.measurements:
            for note in each.notes:
                err.print(f"fxsr: note: {each.model}, {_size(each.workload)}: {note}", markup=False)
    for side in report.unavailable:
        err.print(f"fxsr: {side.model}: not measured: {side.reason}", markup=False)


def _print_lines(one: Measurement, console: Console) -> None:
    memory, work = one.memory, one.work
    lines = {"latency": f"{_stats(one.total)}, {one.runs} runs from host arrays to host arrays"}
    parts = (
        ("copy in", one.host_to_device, "to the device"),
        ("compute", one.compute if one.compute != one.total else None, "in the model"),
        ("copy out", one.device_to_host, "from the device"),
        ("enqueue", one.enqueue, "of CPU time to submit the work"),
    )
    lines |= {name: f"{_stats(stats)}, {what}" for name, stats, what in parts if stats}
    lines["throughput"] = f"{one.rate.images_per_s:.4g} images/s, {one.rate.mpix_per_s:.4g} MPix/s of output"
    if one.device != "cpu":
        lines["throughput"] += ", copies included, which overlap with the work"
        lines["without copies"] = (
            f"{one.compute_rate.images_per_s:.4g} images/s, {one.compute_rate.mpix_per_s:.4g} MPix/s"
        )
    if memory.host is not None:
        lines["host memory"] = f"{memory.host / 1e6:.0f} MB at most, in a process that does only this"
    if memory.device is not None:
        lines["device memory"] = f"{memory.device / 1e6:.0f} MB for the model and its buffers"
    if work:
        lines["work"] = f"{work.flop / 1e9:.4g} GFLOP in convolutions, {work.flop_per_s / 1e12:.4g} TFLOP/s"
        if work.share is not None and work.peak_flop_per_s is not None:
            peak = f"{work.peak_flop_per_s / 1e12:.4g} TFLOP/s that a matrix product reaches on this device"
            lines["work"] += f", {work.share:.0%} of the {peak}"
    stability = "until runs took equally long" if one.warm_up.stable else "but run times never became steady"
    lines["warm-up"] = f"{one.warm_up.runs} runs in {one.warm_up.seconds:.1f} s, {stability}"
    style = _style(one.workload, one.baked_t)
    images = f"{one.workload.batch} of {_size(one.workload)}, {style}"
    console.print(f"{one.model} with {one.backend} on {one.device} in {one.precision}: {images}", markup=False)
    for name, text in lines.items():
        console.print(f"  {name:<15}{text}", markup=False)


def _letters(report: BenchReport) -> dict[str, str]:
    """Short names for the models, whose own names may be long paths."""
    models = dict.fromkeys(one.model for one in report.measurements)
    return {model: chr(ord("A") + index) if index < 26 else str(index + 1) for index, model in enumerate(models)}


def _table(report: BenchReport, names: Mapping[str, str]) -> Table:
    def megabytes(size: int | None) -> str:
        return "" if size is None else f"{size / 1e6:.0f}"

    def milliseconds(stats: Stats | None) -> str:
        return "" if stats is None else f"{stats.median * 1e3:.4g}"

    rows = []
    for one in report.measurements:
        apart = one.compute != one.total
        work = one.work
        rows.append(
            {
                "model": names[one.model],
                "size": _size(one.workload)
                if one.workload.batch == 1
                else f"{one.workload.batch}x {_size(one.workload)}",
                "ms": milliseconds(one.total),
                "p90": f"{one.total.p90 * 1e3:.4g}",
                "p99": f"{one.total.p99 * 1e3:.4g}",
                "spread": f"{one.total.spread:.0%}",
                "copy in": milliseconds(one.host_to_device),
                "compute": milliseconds(one.compute) if apart else "",
                "copy out": milliseconds(one.device_to_host),
                "enqueue": milliseconds(one.enqueue),
                "images/s": f"{one.rate.images_per_s:.4g}",
                "MPix/s": f"{one.rate.mpix_per_s:.4g}",
                "host MB": megabytes(one.memory.host),
                "device MB": megabytes(one.memory.device),
                "TFLOP/s": f"{work.flop_per_s / 1e12:.3g}" if work else "",
                "of peak": f"{work.share:.0%}" if work and work.share is not None else "",
                "times as fast as A": _ratio(one, report.comparisons),
            }
        )
    table = Table(box=None, pad_edge=False)
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in columns:
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(row[name]) for name in columns))
    return table


def _print_layers(one: Measurement, console: Console) -> None:
    whole = sum(layer.seconds for layer in one.layers)
    slowest = one.layers[:_SLOWEST]
    table = Table(box=None, pad_edge=False)
    for name in ("slowest layers", "ms", "share"):
        table.add_column(name, justify="left" if name == "slowest layers" else "right", overflow="fold")
    for layer in slowest:
        table.add_row(escape(layer.name), f"{layer.seconds * 1e3:.4g}", f"{layer.seconds / (whole or 1):.1%}")
    console.print(f"{one.model}, {_size(one.workload)}", markup=False)
    console.print(table)
    rest = sum(layer.seconds for layer in one.layers[_SLOWEST:])
    console.print(f"and {len(one.layers) - len(slowest)} other layers, {rest * 1e3:.4g} ms")


def _ratio(one: Measurement, comparisons: Sequence[SpeedComparison]) -> str:
    found = [each.ratio for each in comparisons if each.model == one.model and each.workload == one.workload]
    return f"{found[0].median:.2f} ({found[0].low:.2f}..{found[0].high:.2f})" if found else ""


def _stats(stats: Stats) -> str:
    """Statistics as text, in milliseconds."""
    figures = (stats.p90, stats.p99, stats.min)
    p90, p99, fastest = (f"{value * 1e3:.4g}" for value in figures)
    return f"{stats.median * 1e3:.4g} ms (p90 {p90}, p99 {p99}, min {fastest}, spread {stats.spread:.0%})"


def _size(workload: Workload) -> str:
    return f"{workload.height}x{workload.width}"


def _style(workload: Workload, baked_t: float | None) -> str:
    if baked_t is not None:
        return f"t fixed at {baked_t:g}"
    if workload.t is None:
        return "t per pixel"
    return f"t {workload.t:g} as {'a map' if workload.full_map else '1x1'}"
