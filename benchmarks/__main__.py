"""`python -m fxsr.benchmarks COMMAND`: the measurements behind the README's figures."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fxsr.benchmarks.machine import machine
from fxsr.errors import FxsrError, UnavailableError
from fxsr.report import print_json, steps
from fxsr.weights import DEFAULT_MODEL

app = typer.Typer(help="Measurements that anyone can rerun.", no_args_is_help=True, pretty_exceptions_enable=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def engines(
    nb: Annotated[list[int] | None, typer.Option("--nb", help="Blocks of the network; give it again for more.")] = None,
    size: Annotated[int, typer.Option("--size", min=8, help="Side of the LR image.")] = 128,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Timed rounds.")] = 7,
    as_json: Json = False,
) -> None:
    """Time ONNX Runtime on the exported graph against eager torch on the authors' network, on the CPU."""
    from fxsr.benchmarks.engines import compare

    with steps(as_json) as tell:
        rows = [row for each in nb or [4, 23] for row in compare(each, size, rounds, tell)]
    where = machine("torch", "onnxruntime")
    if as_json:
        print_json({"machine": where, "size": size, "rounds": rounds, "rows": [asdict(row) for row in rows]})
        return
    table = Table(title=f"{size}x{size}, float32, medians of {rounds} interleaved rounds", caption=where)
    for heading in ("nb", "style", "torch s", "ONNX Runtime s", "ratio", "torch peak MB", "ONNX Runtime peak MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = f"{row.torch_s:.3f}", f"{row.onnx_s:.3f}", f"{row.ratio:.2f}x", f"{row.torch_mb:.0f}"
        table.add_row(str(row.nb), row.style, *figures, f"{row.onnx_mb:.0f}")
    Console().print(table)


@app.command()
def building(
    nb: Annotated[list[int] | None, typer.Option("--nb", help="Blocks of the network; give it again for more.")] = None,
    only: Annotated[str, typer.Option("--only", help="Only variants whose name holds this.")] = "",
    as_json: Json = False,
) -> None:
    """Build engines over sizes and options; print what the builder says that they take."""
    from fxsr.benchmarks.building import VARIANTS, measure_builds
    from fxsr.export.engine import choose_flavour

    flavour = choose_flavour("auto")
    if flavour is None:
        raise UnavailableError('nothing here builds engines; type: pip install "fxsr[rtx]"')
    chosen = [variant for variant in VARIANTS if only in variant.name]
    with steps(as_json) as tell:
        rows = [row for each in nb or [4, 23] for row in measure_builds(each, chosen, flavour, tell)]
    where = machine("torch", flavour)
    if as_json:
        print_json({"machine": where, "flavour": flavour, "rows": [asdict(row) for row in rows]})
        return
    table = Table(title=f"engines by {flavour}", caption=where)
    for heading in ("nb", "engine", "export s", "plan MB", "weights MB", "map MB", "uniform MB"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for row in rows:
        figures = (row.seconds, row.plan_mb, row.weights_mb, row.map_mb, row.uniform_mb)
        table.add_row(str(row.nb), row.variant, *("" if each is None else f"{each:.0f}" for each in figures))
    Console().print(table)


@app.command()
def seams(
    images: Annotated[list[Path], typer.Argument(help="Images to measure on.", exists=True, dir_okay=False)],
    model: Annotated[str, typer.Option("--model", help="A bundled name or model file.")] = DEFAULT_MODEL,
    tile: Annotated[int, typer.Option("--tile", min=8, help="Tile side in LR pixels.")] = 128,
    t: Annotated[float, typer.Option("--t", help="Style.")] = 0.8,
    as_json: Json = False,
) -> None:
    """Compare images run in tiles with the same images run whole, for a range of overlaps."""
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
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")],
    crop: Annotated[
        tuple[int, int, int, int], typer.Option("--crop", help="Left, top, width, height in input pixels.")
    ],
    t: Annotated[
        list[float] | None, typer.Option("--t", help="A style to show; again for more. [default: 0, 1]")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="A bundled name or model file.")] = DEFAULT_MODEL,
) -> None:
    """Draw a crop of an image, as it is and upscaled at several styles, side by side."""
    from fxsr.benchmarks.dial import draw_dial

    draw_dial(image, out, crop, t or [0.0, 1.0], model)


@app.command()
def photos(
    folder: Annotated[Path, typer.Argument(help="Where to write them, in a folder for each set.")],
) -> None:
    """Fetch the photos that models are judged on, for `fxsr eval`. Needs Debian's apt-get and pip."""
    from fxsr.benchmarks.photos import make_photos

    with steps(False) as tell:
        count = make_photos(folder, tell)
    print(f"{count} photos in {folder}")


if __name__ == "__main__":
    try:
        app()
    except FxsrError as error:
        print(f"fxsr.benchmarks: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
