"""The command about speed: `fxsr bench`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fxsr.cli.options import DeviceName, Quiet, Trust
from fxsr.errors import UsageError


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Bundled names and model files. FORM:FILE says in which form a checkpoint runs: torch, torch-fp16, "
            "torch-compile, torch-compile-fp16, onnx, openvino or plan (a half-precision engine)."
        ),
    ],
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            help="Input size, HEIGHTxWIDTH or one number; give it again for more. [default: an engine's tile, "
            "else 128x128]",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Images at once. [default: 1, or what an engine was built for]")
    ] = None,
    t: Annotated[float | None, typer.Option("--t", help="Style, the same for all pixels. [default: 0.8]")] = None,
    t_map: Annotated[bool, typer.Option("--t-map", help="A style per pixel instead.")] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Let the models take turns, and print how many times as fast each is as the first."
        ),
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Time each model for so long on each size, or a little more.")
    ] = 3.0,
    runs: Annotated[int, typer.Option("--runs", help="Time at least so many runs; with --compare one a round.")] = 10,
    rounds: Annotated[int, typer.Option("--rounds", help="With --compare: how often each model's turn comes.")] = 15,
    warm_up: Annotated[
        float, typer.Option("--warm-up", help="Seconds after which waiting for steady runs is given up.")
    ] = 5.0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print the slowest layers too (ONNX Runtime and TensorRT).")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw latency over size: .png, .svg or .pdf.")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write the report there as JSON; - is standard output.")
    ] = None,
    device: DeviceName = "auto",
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Time models: latency, throughput, memory, and the share of what the device could do.

    Each runs in a process of its own on random images, after a warm-up. What each line means: docs/benchmarks.md.

    Examples: `fxsr bench engines/fxsr-pd-x4-fp16.plan`, `fxsr bench --compare torch:FxSR-PD-4x.pth onnx:FxSR-PD-4x.pth`
    """
    from fxsr.benchmarks.speed.bench import Workload
    from fxsr.benchmarks.speed.measure import BenchOptions, measure_models
    from fxsr.benchmarks.speed.plots import check_plot, plot_latency
    from fxsr.benchmarks.speed.report import write_report
    from fxsr.benchmarks.speed.subjects import parse_subject
    from fxsr.cli.print_bench import print_bench
    from fxsr.console import steps
    from fxsr.runtime.session import Device

    if compare and len(models) < 2:
        raise UsageError("--compare takes two models or more; the first is what the others are compared with")
    if t is not None and t_map:
        raise UsageError("--t and --t-map exclude each other: one style, or a random one per pixel")
    for name, duration in (("--seconds", seconds), ("--warm-up", warm_up)):
        if not 0 <= duration <= 3600:
            raise UsageError(f"{name} {duration:g}: write a number from 0 to 3600")
    for name, count in (("--runs", runs), ("--rounds", rounds)):
        if count < 1:
            raise UsageError(f"{name} {count}: it must be 1 or more")
    sizes = tuple(dict.fromkeys(map(_parse_size, size or ())))
    for height, width in sizes or ((1, 1),):
        Workload(height, width, 1 if batch is None else batch, t)  # refuses what is out of range
    Device.parse(device)
    if plot:
        check_plot(plot)
    subjects = [parse_subject(model) for model in models]
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
    if report.unavailable:
        raise typer.Exit(1)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if not match:
        raise UsageError(f"--size {text}: write HEIGHTxWIDTH, such as 256x256, or one number")
    return int(match[1]), int(match[2] or match[1])
