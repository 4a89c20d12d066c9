"""The command that upscales: `fxsr run`."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fxsr.cli.options import DeviceName, Json, Provider, Quiet, Trust
from fxsr.cli.panels import HARDWARE, INPUT_OUTPUT, SCRIPTING, STYLE, TILES
from fxsr.cli.run_command import RAY
from fxsr.cli.run_video import EncoderName, EncoderOptions, Resume, SegmentLength, plan_inputs
from fxsr.cli.stop import Stop
from fxsr.errors import StyleError, UsageError, foreign_name

if TYPE_CHECKING:
    from fxsr.runtime.jobs.runner import ModelChoice, Runner
    from fxsr.styles.options import StyleOptions


def run(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            path_type=str,
            help="Image and video files, and folders that are searched for images. - is standard input.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            path_type=str,
            rich_help_panel=INPUT_OUTPUT,
            help="Output folder, or the output file for a single input. - is standard output. "
            "[default: next to the input: photo_x4.jpg, photos_x4/]",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            "-e",
            rich_help_panel=INPUT_OUTPUT,
            help="A model file (.onnx, .plan, .safetensors, .pth) or a bundled name. [default: the bundled model]",
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option("--suffix", rich_help_panel=INPUT_OUTPUT, help="Text to append to output names, such as _sr."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            rich_help_panel=INPUT_OUTPUT,
            help="Output format: png, jpg, webp, tiff, bmp or exr. [default: the input's format]",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            min=1,
            max=100,
            rich_help_panel=INPUT_OUTPUT,
            help="Quality of JPEG and WebP files. [default: 95; lossless WebP stays lossless]",
        ),
    ] = None,
    lossless: Annotated[
        bool,
        typer.Option(
            "--lossless",
            rich_help_panel=INPUT_OUTPUT,
            help="Write WebP files without loss, and refuse outputs as JPEG. The other formats are always lossless.",
        ),
    ] = False,
    outscale: Annotated[
        float | None,
        typer.Option(
            "--outscale",
            rich_help_panel=INPUT_OUTPUT,
            help="Resample outputs to this many times the input's size. [default: the model's scale]",
        ),
    ] = None,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", rich_help_panel=INPUT_OUTPUT, help="Skip images whose output file exists."),
    ] = False,
    t: Annotated[
        float | None,
        typer.Option(
            "--t",
            rich_help_panel=STYLE,
            help="Style from 0 (faithful) to 1 (perceptual). [default: 0.8]",
        ),
    ] = None,
    t_map: Annotated[
        str | None,
        typer.Option(
            "--t-map",
            metavar="PATH|auto[:NAMES]",
            path_type=str,
            rich_help_panel=STYLE,
            help="Style per pixel: a grey image in which black is t = 0 and white is t = 1. In a folder of maps, each "
            "input uses the map with its name. auto makes a map from each image; auto:faces+focus joins some of faces, "
            "text, focus, texture.",
        ),
    ] = None,
    t_scale: Annotated[
        float | None,
        typer.Option(
            "--t-scale", rich_help_panel=STYLE, help="Factor in 0..1 for the values of the style map. [default: 1]"
        ),
    ] = None,
    t_missing: Annotated[
        float | None,
        typer.Option(
            "--t-missing",
            rich_help_panel=STYLE,
            help="t of images that have no map in the folder --t-map. [default: that of --t]",
        ),
    ] = None,
    t_feather: Annotated[
        float | None,
        typer.Option(
            "--t-feather",
            rich_help_panel=STYLE,
            help="Soften hard borders in the style map by this many input pixels to either side.",
        ),
    ] = None,
    t_range: Annotated[
        str | None,
        typer.Option(
            "--t-range",
            metavar="LO,HI",
            rich_help_panel=STYLE,
            help="The t that black and white of the style map stand for. [default: 0,1]",
        ),
    ] = None,
    faithful: Annotated[
        float | None,
        typer.Option(
            "--faithful",
            metavar="DB",
            min=0,
            max=200,
            rich_help_panel=STYLE,
            help="Report the LR-PSNR of each result (reduced again, it is compared with its input), and refuse results "
            "below this many dB.",
        ),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            "--tile",
            metavar="N|auto",
            rich_help_panel=TILES,
            help="Largest tile side in input pixels. 0 upscales images whole; auto chooses the largest side that fits "
            "into memory. [default: 256, or the engine's limit]",
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", rich_help_panel=TILES, help="Input pixels that neighbouring tiles share. [default: 32]"
        ),
    ] = None,
    encoder: EncoderName = None,
    encoder_option: EncoderOptions = None,
    resume: Resume = False,
    segment: SegmentLength = 60,
    device: DeviceName = "auto",
    provider: Provider = "auto",
    trust: Trust = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=1024,
            rich_help_panel=HARDWARE,
            help="Images in work at once, so that one is decoded and one is encoded while one is upscaled. With --ray: "
            "number of workers. [default: 2; with --ray one per GPU, or one per two CPUs]",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            RAY,
            metavar="[ADDRESS]",
            rich_help_panel=HARDWARE,
            help="Run on a Ray cluster: auto (the cluster that this machine belongs to), HOST:PORT, or local (this "
            "machine alone). Inputs, style maps and outputs may then be URLs, such as s3://bucket/photos.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=SCRIPTING,
            help="Write nothing; print what would be written and about how long it would take.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Upscale images and videos.

    Failures are reported per file; the rest of the run continues, and the exit status is then 1. Output files appear
    whole or not at all.

    Examples: `fxsr run photo.jpg --t 0.8`, `fxsr run photos/ -o out/ --t-map masks/`, `fxsr run - < a.png > b.png`
    """
    from fxsr.cli.print import print_note
    from fxsr.cli.print_run import RunReport
    from fxsr.cli.stdio import DASH, stand_in
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.jobs.jobs import RunOptions
    from fxsr.runtime.jobs.places import is_dir, parse_path, parse_place
    from fxsr.runtime.jobs.runner import ModelChoice
    from fxsr.runtime.video.options import VideoOptions, parse_settings
    from fxsr.styles.automatic.registry import AutomaticStyle
    from fxsr.styles.options import check_style_is_free

    style, style_note = _style_options(t, t_scale, t_missing, t_feather, t_range, mapped=t_map is not None)
    if suffix is not None and any(mark in suffix for mark in "/\\\0"):
        raise UsageError(f"suffix {suffix!r} must not hold a path separator")
    if outscale is not None and not 0 < outscale <= 64:
        raise UsageError(f"outscale is {outscale:g}; it must be above 0 and at most 64")
    if ray is not None and (dry_run or DASH in (*inputs, out)):
        raise UsageError("--ray can't be combined with --dry-run, which times this machine, or with -")
    if lossless and quality is not None:
        raise UsageError("--lossless and --quality contradict each other; give one of them")
    options = RunOptions(style, quality, skip_existing, outscale, lossless, faithful)
    choice = ModelChoice(engine or DEFAULT_MODEL, device, _parse_tile(tile), overlap, provider, trust)
    parse = parse_path if ray is None else parse_place
    sources = [parse(text) for text in inputs]
    target = None if out is None else parse(out)
    maps = None if t_map is None else AutomaticStyle.parse(t_map) or parse(t_map)
    if isinstance(maps, AutomaticStyle) and ray is None:
        maps.check_installed()
    folder_of_maps = not isinstance(maps, AutomaticStyle | None) and is_dir(maps)
    if t_missing is not None and not folder_of_maps:
        raise UsageError("--t-missing is for images without a map in a folder of maps; give the folder with --t-map")
    if t is not None and (t_missing is not None or (t_scale is not None and maps is not None and not folder_of_maps)):
        raise UsageError("--t has no effect here, since every image has a map or --t-missing; leave it out")
    if DASH in inputs and folder_of_maps:
        raise UsageError(f"{maps} is a folder, and standard input has no name to find a map by; give a single map")
    stop: Stop = context.obj
    with (
        stand_in(sources, target, format_name, from_stdin=DASH in inputs, to_stdout=out == DASH) as files,
        _open_runner(choice, ray, jobs, dry_run=dry_run) as runner,
    ):
        if not quiet:
            print_note(runner.note)
            print_note(style_note)
        if as_json and files.stdout:
            raise UsageError("the image and --json would both go to standard output; give -o FILE")
        check_style_is_free(choice.model, runner.fixed_t, t, t_map)
        video = VideoOptions(encoder, parse_settings(encoder_option or ()), segment, resume)
        plan = plan_inputs(files, options, video, outscale or runner.scale, suffix, format_name, maps, ray=ray)
        with RunReport(len(plan.jobs), stop.check, quiet=quiet, as_json=as_json, names=files.names) as report:
            for failure in plan.failures:
                report.add(failure)
            stop.patient = runner.reports_progress
            with closing(runner.run(plan.jobs, options, report.begin)) as results:
                for result in results:
                    report.add(result)
            stop.check()
            stop.patient = False
        files.send()
    if report.failed:
        raise typer.Exit(1)


def _open_runner(choice: ModelChoice, ray: str | None, jobs: int | None, *, dry_run: bool) -> Runner:
    if ray is not None:
        from fxsr.runtime.jobs.cluster import ClusterRunner

        return ClusterRunner(choice, ray, jobs)
    from fxsr.runtime.jobs.runner import LocalRunner

    return LocalRunner(choice, jobs or 2, dry_run=dry_run)


def _style_options(
    t: float | None,
    scale: float | None,
    missing: float | None,
    feather: float | None,
    t_range: str | None,
    *,
    mapped: bool,
) -> tuple[StyleOptions, str]:
    """The style, and a note for the user about it, or ""."""
    from fxsr.styles.options import StyleOptions
    from fxsr.styles.style_map import parse_pair

    if not mapped and (feather is not None or t_range is not None or scale is not None):
        raise UsageError("--t-feather, --t-range and --t-scale change a style map; give one with --t-map")
    ends = parse_pair(t_range, "--t-range") if t_range is not None else (0.0, 1.0)
    note = ""
    if mapped and t is not None and scale is None and missing is None:
        scale, note = t, f"note: with --t-map, --t {t:g} is a factor for the map; write --t-scale {t:g} instead"
    try:
        return StyleOptions(t if missing is None else missing, 1 if scale is None else scale, ends, feather or 0), note
    except StyleError as error:
        raise UsageError(str(error)) from error


def _parse_tile(text: str | None) -> int | Literal["auto"] | None:
    if text is None or re.fullmatch("[0-9]{1,9}", text):
        return None if text is None else int(text)
    if text == "auto":
        return "auto"
    raise UsageError(f"tile is {foreign_name(text)!r}; it must be a number of pixels, or auto")
