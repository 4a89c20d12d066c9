"""The command that upscales: `fxsr run`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from fxsr.cli.options import DeviceName, Json, Provider, Quiet, Trust
from fxsr.cli.stop import Stop
from fxsr.errors import StyleError, UsageError

RAY = "--ray"


class RunCommand(TyperCommand):
    """Lets --ray stand without its address, which Typer's own options can't."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_address(args))


def with_address(words: Sequence[str]) -> list[str]:
    """A command line in which --ray, where no address follows it, is given that of this machine's own cluster.

    What follows is an option, an input that exists, a URL, or the address.
    """
    words = list(words)
    if RAY in (options := words[: words.index("--")] if "--" in words else words):
        at = options.index(RAY) + 1
        following = options[at : at + 1]
        if not following or _no_address(following[0]):
            words.insert(at, "auto")
    return words


def _no_address(word: str) -> bool:
    if word in ("auto", "local") or word.startswith("ray://"):
        return False
    return word.startswith("-") or "://" in word or Path(word).exists()


def run(
    context: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Images, and folders that are searched for images; -: standard input.", readable=False),
    ],
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
        typer.Option(
            "--t-map",
            help="Style per pixel: an image, white is 1. A folder pairs maps with inputs by name.",
            readable=False,
        ),
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
            readable=False,
            help="Folder, or for a single input the file; -: standard output. [default: beside the input: "
            "photo_x4.jpg, photos_x4/]",
        ),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            "--tile",
            metavar="N|auto",
            help="Largest tile side in input pixels; 0: images whole; auto: as memory allows. [default: 256, or the "
            "engine's]",
        ),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", help="Input pixels that neighbouring tiles share. [default: 32]")
    ] = None,
    suffix: Annotated[str | None, typer.Option("--suffix", help="Put behind each output's name, such as _sr.")] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", help="Output format: png, jpg, webp, tiff, bmp or exr. [default: the input's]"),
    ] = None,
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of JPEG and WebP.")] = 95,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave outputs that are there already.")
    ] = False,
    outscale: Annotated[
        float | None,
        typer.Option("--outscale", help="Resample outputs to so many times the input. [default: the model's scale]"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Images in work at once: one decoded, one upscaled, one encoded. On a cluster: workers. [default: 2; "
            "on a cluster one for each GPU, or for two CPUs]",
        ),
    ] = None,
    device: DeviceName = "auto",
    provider: Provider = "auto",
    trust: Trust = False,
    ray: Annotated[
        str | None,
        typer.Option(
            RAY,
            metavar="[ADDRESS]",
            help="Work on a Ray cluster: the one that this machine belongs to (auto), that at host:port, or local for "
            "all of this machine. Inputs, maps and outputs may then be URLs, such as s3://bucket/photos.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be written and about how long it takes.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Upscale images.

    A file that fails is named and the others go on; the exit status is then 1. Outputs appear whole or not at all.

    Examples: `fxsr run photo.jpg --t 0.8`, `fxsr run photos/ -o out/ --t-map masks/`, `fxsr run - < a.png > b.png`
    """
    from fxsr.cli.print_run import RunReport
    from fxsr.cli.stdio import DASH, stand_in
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.jobs.forecast import forecast_jobs
    from fxsr.runtime.jobs.jobs import RunOptions, plan_jobs
    from fxsr.runtime.jobs.pipeline import run_jobs
    from fxsr.runtime.jobs.places import AnyPlaces, as_url
    from fxsr.runtime.upscale.upscaler import load
    from fxsr.styles.style_map import DEFAULT_T, StyleMap, parse_pair

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
    if outscale is not None and not 0 < outscale <= 64:
        raise UsageError(f"outscale is {outscale:g}; it must be above 0 and at most 64")
    options = RunOptions(factor, quality, skip_existing, t_feather or 0, ends, outscale)
    stop: Stop = context.obj
    size = _tile(tile)
    if ray is not None:
        from fxsr.runtime.describe import describe
        from fxsr.runtime.jobs.cluster import WorkerSetup, run_on_cluster

        if dry_run or DASH in (*inputs, out):
            raise UsageError("--ray goes neither with --dry-run, which times this machine, nor with -")
        model = engine or DEFAULT_MODEL
        setup = WorkerSetup(_absolute(model), options, device, size, overlap, provider, trust)
        facts = describe(model)
        _check_style(facts.get("baked_t"), t, t_map)
        plan = plan_jobs(
            inputs, outscale or facts["scale"], out, suffix, format_name, t_map, AnyPlaces(), skip_existing
        )
        with RunReport(len(plan.jobs), stop.check, quiet=quiet, as_json=as_json) as report:
            for failure in plan.failures:
                report.add(failure)
            for result in run_on_cluster(plan.jobs, setup, ray, jobs):
                report.add(result)
        if report.failed:
            raise typer.Exit(1)
        return
    if url := next((url for path in (*inputs, out, t_map) if path and (url := as_url(path))), None):
        raise UsageError(f"{url}: URLs are read and written with --ray; give --ray local for this machine alone")
    if DASH in inputs and t_map is not None and t_map.is_dir():
        raise UsageError(f"{t_map} is a folder, and standard input has no name to find a map by; give a single map")
    with (
        stand_in(inputs, out, format_name) as files,
        load(engine or DEFAULT_MODEL, device, size, overlap, provider=provider, trust=trust) as upscaler,
    ):
        if as_json and files.stdout:
            raise UsageError("the image and --json would both go to standard output; give -o FILE")
        _check_style(upscaler.session.info.baked_t, t, t_map)
        scale = outscale or upscaler.scale
        plan = plan_jobs(files.inputs, scale, files.out, suffix, format_name, t_map, resume=skip_existing)
        with RunReport(len(plan.jobs), stop.check, quiet=quiet, as_json=as_json, names=files.names) as report:
            stop.patient = not dry_run
            for failure in plan.failures:
                report.add(failure)
            if dry_run:
                for forecast in forecast_jobs(plan.jobs, upscaler, options):
                    report.add(forecast)
            else:
                with closing(run_jobs(plan.jobs, upscaler, options, report.begin, jobs or 2)) as results:
                    for result in results:
                        report.add(result)
            stop.check()
            stop.patient = False
        files.send()
    if report.failed:
        raise typer.Exit(1)


def _check_style(fixed: float | None, t: float | None, t_map: Path | None) -> None:
    if fixed is not None and (t is not None or t_map is not None):
        raise UsageError(f"this model was exported with t fixed at {fixed:g}; leave out --t and --t-map")


def _absolute(model: str) -> str:
    """A model's path for processes that work in other folders; a bundled name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def _tile(text: str | None) -> int | Literal["auto"] | None:
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    if text == "auto":
        return "auto"
    raise UsageError(f"tile is {text!r}; it must be a number of pixels, or auto")
