"""Commands of `python -m fxsr.benchmarks` about time and memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fxsr.console import print_json, steps
from fxsr.errors import UnavailableError, UsageError, install_line
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.machine.name import machine

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def engines(
    nb: Annotated[
        list[int] | None, typer.Option("--nb", help="Blocks of the network. Repeatable. [default: 4, 23]")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=8, help="Side of the LR image in pixels.")] = 128,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds to time.")] = 7,
    device: Annotated[
        str, typer.Option("--device", help="cpu or cuda:N. On a GPU everything runs in half precision.")
    ] = "cpu",
    only: Annotated[
        str,
        typer.Option("--only", help="Only models whose name contains this text, apart from the first, eager PyTorch."),
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to also write engines-HARDWARE.md and .json to.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the speed of the exported graph with eager PyTorch, torch.compile, and other ways to run the network."""
    from fxsr.benchmarks.engines import cells, compare_engines, write_table

    blocks = nb or [4, 23]
    with steps(as_json) as on_step:
        found = compare_engines(blocks, size, rounds, device, only, on_step)
    if out:
        asked = " ".join(f"--nb {each}" for each in blocks)
        command = f"python -m fxsr.benchmarks engines {asked} --size {size} --rounds {rounds} --device {device}"
        command += f" --only '{only}'" if only else ""
        write_table(found, out, command)
    if as_json:
        print_json(found.to_json())
        return
    table = Table(title=f"{size}x{size}, medians of {rounds} interleaved rounds", caption=found.machine)
    for heading in ("nb", "style", "side", "time", "against eager (95 %)", "host memory", "of peak"):
        table.add_column(heading, justify="left" if heading in ("style", "side") else "right")
    for row in found.rows:
        table.add_row(*cells(row))
    Console(width=max(Console().width, 120)).print(table)
    for text in dict.fromkeys(f"{row.side}: not measured: {row.reason}" for row in found.rows if row.reason):
        print(text)


def memory(
    size: Annotated[str, typer.Argument(metavar="HxW", help="Size of the LR image, such as 8192x8192.")],
    format_name: Annotated[str, typer.Option("--format", help="Format of input and output: png or tiff.")] = "tiff",
    as_json: Json = False,
) -> None:
    """Measure the peak memory of upscaling an image by 4, without the memory of the model."""
    from fxsr.benchmarks.memory import measure_memory
    from fxsr.images.formats import FORMATS

    height, _, width = size.partition("x")
    if not (height.isdecimal() and width.isdecimal() and format_name in FORMATS):
        raise UsageError(f"size is {size!r} and format is {format_name!r}; write them like 8192x8192 and png")
    found = measure_memory(int(height), int(width), FORMATS[format_name])
    if as_json:
        print_json({"machine": machine("pyvips"), **asdict(found)})
        return
    print(
        f"{size} {found.suffix} to {found.height * 4}x{found.width * 4}: peak {found.peak_mb:.0f} MB "
        f"({found.start_mb:.0f} MB before), {found.seconds:.0f} s"
    )


def coldstart(
    image: Annotated[Path, typer.Argument(help="Photo whose centre is upscaled.", exists=True, dir_okay=False)],
    model: Annotated[
        str, typer.Option("--model", help="A model file, or the name of a bundled model.")
    ] = DEFAULT_MODEL,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs to time.")] = 7,
    as_json: Json = False,
) -> None:
    """Time `fxsr run` on a 256x256 photo, from the start of the process to the finished file."""
    from fxsr.benchmarks.coldstart import measure_cold_start

    with steps(as_json) as on_step:
        rows = measure_cold_start(image, model, runs, on_step)
    where = machine("onnxruntime")
    if as_json:
        print_json({"machine": where, "model": model, "runs": runs, "rows": [asdict(row) for row in rows]})
        return
    table = Table(title=f"{model}, {runs} runs in turns", caption=where)
    for heading in ("process", "median s", "p90 s", "min s", "spread"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    for row in rows:
        stats = row.stats
        figures = f"{stats.median:.3f}", f"{stats.p90:.3f}", f"{stats.min:.3f}", f"{stats.spread:.0%}"
        table.add_row(row.command, *figures)
    Console().print(table)


def building(
    nb: Annotated[
        list[int] | None, typer.Option("--nb", help="Blocks of the network. Repeatable. [default: 4, 23]")
    ] = None,
    only: Annotated[str, typer.Option("--only", help="Only variants whose name contains this text.")] = "",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table in Markdown, as in docs/engines.md.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build engines of several sizes and options, and print their build times and memory."""
    from fxsr.benchmarks.building import COLUMNS, ENGINE_VARIANTS, cells, measure_builds
    from fxsr.export.engine.engine import choose_flavour

    flavour = choose_flavour("auto")
    if flavour is None:
        raise UnavailableError(
            f"no package that builds engines is installed; type in the clone of FxSR: {install_line('rtx')}"
        )
    chosen = [variant for variant in ENGINE_VARIANTS if only in variant.name]
    with steps(as_json) as on_step:
        rows = [row for each in nb or [4, 23] for row in measure_builds(each, chosen, flavour, on_step)]
    where = machine("torch", flavour)
    if as_json:
        print_json({"machine": where, "flavour": flavour, "rows": [asdict(row) for row in rows]})
        return
    if markdown:
        print("\n".join(f"| {' | '.join(line)} |" for line in (COLUMNS, ["---"] * len(COLUMNS), *map(cells, rows))))
        print(f"\n{where}")
        return
    table = Table(title=f"engines by {flavour}", caption=where)
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for row in rows:
        table.add_row(*cells(row))
    Console().print(table)


def serving(
    image: Annotated[Path, typer.Argument(help="Photo whose centre is sent.", exists=True, dir_okay=False)],
    model: Annotated[
        str, typer.Option("--model", help="A model file, or the name of a bundled model.")
    ] = DEFAULT_MODEL,
    side: Annotated[
        list[int] | None,
        typer.Option("--side", help="Side of the images in pixels. Repeatable. [default: 32, 64, 128]"),
    ] = None,
    clients: Annotated[int, typer.Option("--clients", min=2, help="Number of concurrent clients.")] = 16,
    seconds: Annotated[float, typer.Option("--seconds", help="Duration of each measurement in seconds.")] = 10,
    as_json: Json = False,
) -> None:
    """Measure the throughput of `fxsr serve` with one client and with many, with and without batching."""
    from fxsr.benchmarks.serving import measure_load

    with steps(as_json) as on_step:
        rows = measure_load(image, model, side or [32, 64, 128], [1, clients], seconds, on_step)
    where = machine("onnxruntime", "uvicorn")
    if as_json:
        print_json({"machine": where, "model": model, "rows": [asdict(row) for row in rows]})
        return
    table = Table(title=f"fxsr serve, {model}", caption=where)
    for heading in ("image", "clients", "batch", "images/s", "median ms", "p90 ms", "tiles per batch"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = f"{row.images_per_s:.1f}", f"{row.median_s * 1e3:.0f}", f"{row.p90_s * 1e3:.0f}"
        batch = str(row.batch or "any")
        table.add_row(f"{row.side}x{row.side}", str(row.clients), batch, *figures, f"{row.batch_tiles:.1f}")
    Console().print(table)


def soak(
    image: Annotated[Path, typer.Argument(help="Photo whose centre is sent.", exists=True, dir_okay=False)],
    model: Annotated[
        str, typer.Option("--model", help="A model file, or the name of a bundled model.")
    ] = DEFAULT_MODEL,
    requests: Annotated[int, typer.Option("--requests", min=10, help="Number of requests.")] = 5000,
    as_json: Json = False,
) -> None:
    """Send `fxsr serve` thousands of requests, most of them bad, and measure its memory."""
    from fxsr.benchmarks.serving import soak as run

    with steps(as_json) as on_step:
        found = run(image, model, requests, on_step)
    if as_json:
        print_json({"machine": machine("onnxruntime", "uvicorn"), "model": model, **asdict(found)})
        return
    answers = ", ".join(f"{count} x {status or 'gone'}" for status, count in found.statuses.items())
    print(
        f"{found.requests} requests: {answers}; {found.early_mb:.0f} MB after a fifth, {found.end_mb:.0f} MB at the end"
    )
