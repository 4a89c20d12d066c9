"""The command line: `fxsr COMMAND --help`. Arguments in, messages and exit status out; the work is elsewhere.

Exit status: 0 done; 1 some inputs failed, the others were written; 2 usage; 3 a needed part or device is absent.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import fxsr
from fxsr import cli_bench, cli_export, cli_tmap, cli_training
from fxsr.cli_options import Json, Quiet, Stop
from fxsr.errors import FxsrError, StyleError, UsageError

app = typer.Typer(
    name="fxsr",
    help="Super-resolution with a style dial: t = 0 is faithful, t = 1 is perceptual, and it may differ per pixel.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> NoReturn:
    """Run the command line and exit; errors become one line and a status."""
    try:
        app(obj=Stop())
    except FxsrError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        sys.exit(1)
    sys.exit(0)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fxsr {fxsr.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    context: typer.Context,
    inputs: Annotated[list[Path], typer.Argument(help="Images, and folders that are searched for images.")],
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            "-e",
            help="A model file (.onnx, .plan, .safetensors, .pth) or a bundled name. [default: the bundled model]",
        ),
    ] = None,
    t: Annotated[
        float | None,
        typer.Option(
            "--t",
            help="Style, 0 (faithful) to 1 (perceptual); with --t-map, its factor. [default: 0.8; with --t-map 1]",
        ),
    ] = None,
    t_map: Annotated[
        Path | None,
        typer.Option("--t-map", help="Style per pixel: an image, white is 1. A folder pairs maps with inputs by name."),
    ] = None,
    t_feather: Annotated[
        float | None,
        typer.Option("--t-feather", help="Soften the map's borders by so many input pixels to either side."),
    ] = None,
    t_range: Annotated[
        str | None, typer.Option("--t-range", metavar="LO,HI", help="t of the map's black and white. [default: 0,1]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder, or for a single input the file. [default: beside the input: photo_x4.jpg, photos_x4/]",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile", help="Largest tile side in input pixels; 0: images whole. [default: 256, or the engine's]"
        ),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", help="Input pixels that neighbouring tiles share. [default: 32]")
    ] = None,
    suffix: Annotated[str | None, typer.Option("--suffix", help="Put behind each output's name, such as _sr.")] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Output format: png, jpg, webp, tiff or bmp. [default: the input's]")
    ] = None,
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of JPEG and WebP.")] = 95,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave outputs that are there already.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    provider: Annotated[
        str, typer.Option("--provider", help="Of ONNX Runtime: auto, cpu, cuda, tensorrt or tensorrt-rtx.")
    ] = "auto",
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Load an engine without a manifest. Engines are code that runs."),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Upscale images.

    A file that fails is named and the others go on; the exit status is then 1. Outputs appear whole or not at all.

    Examples: `fxsr run photo.jpg --t 0.8`, `fxsr run photos/ -o out/ --t-map masks/`
    """
    from fxsr.report import RunReport
    from fxsr.runtime.jobs import RunOptions, plan_jobs, try_job
    from fxsr.runtime.upscaler import load
    from fxsr.stylemap import DEFAULT_T, StyleMap, parse_pair
    from fxsr.weights import DEFAULT_MODEL

    if t_map is None and (t_feather is not None or t_range is not None):
        raise UsageError("--t-feather and --t-range change a style map; give one with --t-map")
    factor = t if t is not None else 1.0 if t_map else DEFAULT_T
    ends = parse_pair(t_range, "--t-range") if t_range is not None else (0.0, 1.0)
    try:
        StyleMap.uniform(factor).feathered(t_feather or 0)
    except StyleError as error:
        raise UsageError(str(error)) from error
    if suffix is not None and any(mark in suffix for mark in "/\\\0"):
        raise UsageError(f"suffix {suffix!r} must not hold a path separator")
    options = RunOptions(factor, quality, skip_existing, t_feather or 0, ends)
    stop: Stop = context.obj
    with load(engine or DEFAULT_MODEL, device, tile, overlap, provider=provider, trust=trust) as upscaler:
        fixed = upscaler.session.info.baked_t
        if fixed is not None and (t is not None or t_map is not None):
            raise UsageError(f"this model was exported with t fixed at {fixed:g}; leave out --t and --t-map")
        plan = plan_jobs(inputs, upscaler.scale, out, suffix, format_name, t_map)
        with RunReport(len(plan.jobs), stop.check, quiet=quiet, as_json=as_json) as report:
            stop.patient = True
            for failure in plan.failures:
                report.add(failure)
            for job in plan.jobs:
                report.add(try_job(job, upscaler, options, report.begin(job)))
    if report.failed:
        raise typer.Exit(1)


@app.command()
def info(
    file: Annotated[str, typer.Argument(help="A checkpoint, ONNX file, manifest or bundled name.")],
    as_json: Json = False,
) -> None:
    """Say what a file is."""
    from fxsr.report import print_facts
    from fxsr.runtime.describe import describe

    print_facts(describe(file), as_json)


@app.command()
def models(as_json: Json = False) -> None:
    """List the bundled models with their model cards, and where authors host others."""
    from fxsr.report import print_models
    from fxsr.weights import PUBLISHED_MODELS, bundled_models, model_path

    cards = {name: model_path(name, ".md").read_text(encoding="utf-8") for name in bundled_models()}
    print_models(cards, PUBLISHED_MODELS, as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do: packages, devices, and what to install for the rest."""
    from fxsr.report import print_facts
    from fxsr.runtime.describe import examine_machine

    print_facts(examine_machine(), as_json)


app.command()(cli_export.export)
app.command()(cli_export.verify)
app.command()(cli_bench.bench)
app.command()(cli_training.train)
app.command("eval")(cli_training.evaluate)
app.add_typer(cli_tmap.app, name="tmap")


def _complain(message: str) -> None:
    """One line on standard error."""
    typer.echo(f"fxsr: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    main()
