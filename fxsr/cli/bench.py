"""The command that measures speed: `fxsr bench`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fxsr.cli.options import DeviceName, Quiet, Trust
from fxsr.cli.panels import INPUT_OUTPUT, SCRIPTING, STYLE
from fxsr.errors import UsageError

_TIMING = "Timing"
_MAX_RUNS = 1_000_000


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model files and names of bundled models. FORM:FILE runs a checkpoint in another form: torch, "
            "torch-fp16, torch-compile, torch-compile-fp16, onnx, openvino or plan (an engine in half precision)."
        ),
    ],
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            help="Input size, HEIGHTxWIDTH or one number. Repeatable. [default: an engine's tile, else 128x128]",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            help="Images in a batch. [default: 1, or the batch that an engine was built for]",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Plot latency over size: .png, .svg or .pdf.", rich_help_panel=INPUT_OUTPUT),
    ] = None,
    t: Annotated[
        float | None,
        typer.Option("--t", help="One style for all pixels, 0 to 1. [default: 0.8]", rich_help_panel=STYLE),
    ] = None,
    t_map: Annotated[
        bool, typer.Option("--t-map", help="Use a style map with a random style per pixel.", rich_help_panel=STYLE)
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Run the models in turns, and print how many times as fast each is as the first.",
            rich_help_panel=_TIMING,
        ),
    ] = False,
    seconds: Annotated[
        float,
        typer.Option("--seconds", help="Seconds to time each model on each size, at least.", rich_help_panel=_TIMING),
    ] = 3.0,
    runs: Annotated[
        int,
        typer.Option(
            "--runs",
            help="Runs to time, at least. With --compare, at least one in each round.",
            rich_help_panel=_TIMING,
        ),
    ] = 10,
    rounds: Annotated[
        int, typer.Option("--rounds", help="With --compare: turns of each model.", rich_help_panel=_TIMING)
    ] = 15,
    warm_up: Annotated[
        float,
        typer.Option(
            "--warm-up",
            help="Longest warm-up in seconds. It ends earlier when runs take equally long.",
            rich_help_panel=_TIMING,
        ),
    ] = 5.0,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Also print the slowest layers (ONNX Runtime and TensorRT only).", rich_help_panel=_TIMING
        ),
    ] = False,
    device: DeviceName = "auto",
    trust: Trust = False,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the report to this file as JSON. - means standard output.",
            rich_help_panel=SCRIPTING,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure models: latency, throughput, memory, and the share of the device's peak speed.

    Each model runs in a process of its own, on random images, after a warm-up. docs/benchmarks.md explains each line.

    Examples: `fxsr bench engines/fxsr-pd-x4-fp16.plan`, `fxsr bench --compare torch:FxSR-PD-4x.pth onnx:FxSR-PD-4x.pth`
    """
    from fxsr.benchmarks.speed.bench import Workload
    from fxsr.benchmarks.speed.measure import BenchOptions, measure_models
    from fxsr.benchmarks.speed.plots import plot_latency
    from fxsr.benchmarks.speed.report import write_report
    from fxsr.benchmarks.speed.subjects import parse_subjects
    from fxsr.cli.print import print_plot
    from fxsr.cli.print_bench import print_bench
    from fxsr.console import steps
    from fxsr.plots import check_plot
    from fxsr.runtime.session import Device

    if compare and len(models) < 2:
        raise UsageError("--compare needs two models or more; the others are compared with the first")
    if t is not None and t_map:
        raise UsageError("--t and --t-map exclude each other: give one style, or use a random style per pixel")
    for name, duration in (("--seconds", seconds), ("--warm-up", warm_up)):
        if not 0 <= duration <= 3600:
            raise UsageError(f"{name} {duration:g}: write a number from 0 to 3600")
    for name, count in (("--runs", runs), ("--rounds", rounds)):
        if not 1 <= count <= _MAX_RUNS:
            raise UsageError(f"{name} {count}: it must be 1 to {_MAX_RUNS:,}")
    sizes = tuple(dict.fromkeys(map(_parse_size, size or ())))
    for height, width in sizes or ((1, 1),):
        Workload(height, width, 1 if batch is None else batch, t)  # raises if a value is out of range
    Device.parse(device)
    if plot:
        check_plot(plot)
    subjects = parse_subjects(models)
    options = BenchOptions(sizes, batch, t, t_map, device, seconds, runs, rounds, warm_up, profile, trust)
    to_stdout = json_file == "-"
    with steps(quiet or to_stdout) as tell:
        report = measure_models(subjects, options, compare, tell)
    print_bench(report, quiet=quiet or to_stdout)
    if to_stdout:
        typer.echo(report.to_json().decode(), nl=False)
    elif json_file:
        write_report(Path(json_file), report)
    if plot:
        plot_latency(report, plot)
        print_plot(plot, quiet=quiet)
    if report.unavailable:
        raise typer.Exit(1)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if not match:
        raise UsageError(f"--size {text}: write HEIGHTxWIDTH, such as 256x256, or one number")
    return int(match[1]), int(match[2] or match[1])
