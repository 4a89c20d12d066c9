"""The command that exports models for deployment: `fxsr export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fxsr.cli.command import Command
from fxsr.cli.engine_options import (
    Batch,
    ComputeCapability,
    EngineChoice,
    EngineName,
    HardwareCompatible,
    OptLevel,
    Refit,
    Shapes,
    StripWeights,
    Tile,
    TimingCache,
    VersionCompatible,
    Workspace,
)
from fxsr.cli.options import Json, Quiet
from fxsr.cli.panels import INPUT_OUTPUT, SCRIPTING, STYLE
from fxsr.errors import UsageError

if TYPE_CHECKING:
    from fxsr.export import EngineRequest, ExportResult
    from fxsr.export.engine.builder import BuildEvent
    from fxsr.export.engine.profiles import Tiles
    from fxsr.models.manifest import BuildOptions, Flavour

_GRAPH = "Graph"
_VERIFICATION = "Verification"


class PixelType(StrEnum):
    """The type of images that a graph takes."""

    float = "float"
    uint8 = "uint8"


_REWRITES = ("fold", "phase", "strips", "blocked")
"""What --without can leave out."""


class ExportCommand(Command):
    """Answers options of earlier releases with what to write instead."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for name in _REWRITES:
            if f"--no-{name}" in args:
                raise UsageError(f"--no-{name}: this option is gone; write --without {name}")
        return super().parse_args(ctx, args)


def export(
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="A .pth or .safetensors file of FxSR weights.", rich_help_panel=INPUT_OUTPUT),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Name of a bundled model. [default: the bundled model]", rich_help_panel=INPUT_OUTPUT
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale", help="Fail unless the model upscales by this factor: 2, 4 or 8.", rich_help_panel=INPUT_OUTPUT
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.", rich_help_panel=INPUT_OUTPUT)] = Path(
        "engines"
    ),
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Model name in file names and manifest. [default: the checkpoint's own]",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write all files again, even up-to-date ones.", rich_help_panel=INPUT_OUTPUT)
    ] = False,
    triton: Annotated[
        Path | None,
        typer.Option(
            "--triton",
            metavar="DIR",
            help="Also write the model to this Triton model repository.",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    bake_t: Annotated[
        float | None,
        typer.Option(
            "--bake-t",
            help="Fix the style, 0 to 1. The graph then has no t_map and no style layers, and is faster.",
            rich_help_panel=STYLE,
        ),
    ] = None,
    esrgan: Annotated[
        bool,
        typer.Option(
            "--esrgan", help="With --bake-t: also write the weights of a plain ESRGAN (.pth).", rich_help_panel=STYLE
        ),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16", help="Use half precision for weights, arithmetic, inputs and output.", rich_help_panel=_GRAPH
        ),
    ] = False,
    bf16: Annotated[
        bool,
        typer.Option(
            "--bf16",
            help="Use bfloat16 for weights and arithmetic; inputs and output stay float32.",
            rich_help_panel=_GRAPH,
        ),
    ] = False,
    fp32: Annotated[
        bool, typer.Option("--fp32", help="Use single precision throughout. [default]", rich_help_panel=_GRAPH)
    ] = False,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Store weights in half precision but compute in float32: half the file size.",
            rich_help_panel=_GRAPH,
        ),
    ] = False,
    io: Annotated[
        PixelType,
        typer.Option(
            "--io",
            help="Type of images and style. uint8: bytes; images are (n, h, w, 3), but style maps stay (n, 1, h, w), "
            "with 255 for t = 1. The graph converts them.",
            rich_help_panel=_GRAPH,
        ),
    ] = PixelType.float,
    packed: Annotated[
        bool,
        typer.Option(
            "--packed",
            help="Give the graph a single input of four channels, RGB and t, for runtimes that support only one.",
            rich_help_panel=_GRAPH,
        ),
    ] = False,
    without: Annotated[
        str | None,
        typer.Option(
            "--without",
            metavar="LIST",
            help="Leave out exact rewrites of the graph, separated by commas: fold (style layers become piecewise "
            "linear in t), phase (convolutions on the small grid replace upsampling), strips (the network's end runs "
            "in strips, which saves memory), blocked (ONNX Runtime's CPU layout; leave it out for ONNX Runtime on a "
            "GPU). The others are for debugging.",
            rich_help_panel=_GRAPH,
        ),
    ] = None,
    no_verify: Annotated[
        bool,
        typer.Option(
            "--no-verify", help="Do not compare the results with the checkpoint.", rich_help_panel=_VERIFICATION
        ),
    ] = False,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            help="A photo, or a folder of photos, to verify on in addition to the bundled ones. Repeatable.",
            rich_help_panel=_VERIFICATION,
        ),
    ] = None,
    engine: EngineName = EngineChoice.auto,
    tile: Tile = None,
    shapes: Shapes = None,
    batch: Batch = "1",
    compute_capability: ComputeCapability = None,
    opt_level: OptLevel = None,
    workspace: Workspace = None,
    timing_cache: TimingCache = None,
    version_compatible: VersionCompatible = False,
    hardware_compatible: HardwareCompatible = False,
    strip_weights: StripWeights = False,
    refit: Refit = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the builder's log.", rich_help_panel=SCRIPTING)
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into an ONNX file and an engine with their manifest, and verify them.

    The ONNX file takes images of any size and batch. Its second input is a style map, or one style for all pixels as a
    1x1 map. An engine takes tiles of the sizes that it was built for. Files that are up to date are not built again.

    Examples: `fxsr export --scale 4 --fp16`, `fxsr export --checkpoint FxSR-PD-4x.pth --fp16 --tile 192`
    """
    from fxsr.cli.print import print_export
    from fxsr.console import steps
    from fxsr.export import ExportRequest, export_model
    from fxsr.export.engine.engine import choose_flavour, why_none
    from fxsr.export.engine.profiles import parse_tiles
    from fxsr.export.graph.graph import GraphOptions
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.models.file import ModelFileKind, find_model
    from fxsr.models.manifest import BuildOptions

    if checkpoint and model:
        raise UsageError("--checkpoint and --model exclude each other")
    if fp16 + bf16 + fp32 > 1:
        raise UsageError("--fp16, --bf16 and --fp32 exclude each other")
    if esrgan and bake_t is None:
        raise UsageError("--esrgan needs --bake-t: a plain ESRGAN has one style")
    if no_verify and images:
        raise UsageError("--no-verify and --images exclude each other: the photos are for the verification")
    left_out = _parse_rewrites(without or "")
    source = checkpoint or find_model(model or DEFAULT_MODEL, ModelFileKind.CHECKPOINT).path
    graph = GraphOptions(
        precision="fp16" if fp16 else "bf16" if bf16 else "fp32",
        compact=compact,
        io=io.value,
        packed=packed,
        baked_t=bake_t,
        fold_styles="fold" not in left_out,
        phase_upsampling="phase" not in left_out,
        strips="strips" not in left_out,
        blocked="blocked" not in left_out,
    )
    tiles = parse_tiles(tile, shapes, batch)
    build = BuildOptions(
        compute_capabilities=tuple(compute_capability or ()),
        opt_level=opt_level,
        workspace_mb=workspace,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        strip_weights=strip_weights,
        refit=refit,
    )
    if engine == EngineChoice.none:
        _check_no_engine(tiles, build, timing_cache)
    flavour = choose_flavour(engine)
    request = ExportRequest(
        checkpoint=source,
        out=out,
        graph=graph,
        engine=_engine_request(flavour, tiles, build, timing_cache) if flavour else None,
        scale=scale,
        name=name,
        check=not no_verify,
        images=tuple(images or ()),
        esrgan=esrgan,
        force=force,
    )
    with steps(quiet or as_json or verbose) as show:

        def on_event(event: BuildEvent) -> None:
            if verbose:
                typer.echo(event.text, err=True)
            elif event.kind == "phase":
                show(event.text)

        result = export_model(request, on_event)
    notes = [tiles.warning] if flavour and tiles.warning else []
    print_export(result, notes, quiet=quiet, as_json=as_json)
    if result.lost and not quiet:
        _note(f"{', '.join(result.lost)}: no longer usable, since the graph that it was built from was replaced")
    if triton and not result.failed:
        _write_repository(result, triton, quiet, as_json)
    if engine == EngineChoice.auto and flavour is None and not quiet:
        _note(f"no engine was built. {why_none()}")
        if fp16:
            _note("half precision is for GPUs: on a CPU, this file is slower than one of --fp32")
    if result.failed:
        raise typer.Exit(1)


def _parse_rewrites(text: str) -> set[str]:
    """Names of rewrites, as the value of --without gives them."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    if unknown := sorted(names - set(_REWRITES)):
        raise UsageError(f"--without {unknown[0]}: write one or more of {', '.join(_REWRITES)}, separated by commas")
    return names


def _check_no_engine(tiles: Tiles, build: BuildOptions, timing_cache: Path | None) -> None:
    """Refuse options that say how to build an engine, of which there is none."""
    from fxsr.export.engine.profiles import Tiles

    usual = Tiles()
    given = {
        "--tile or --shapes": tiles.sizes != usual.sizes,
        "--batch": tiles.batch != usual.batch,
        "--compute-capability": build.compute_capabilities,
        "--opt-level": build.opt_level is not None,
        "--workspace": build.workspace_mb is not None,
        "--timing-cache": timing_cache is not None,
        "--version-compatible": build.version_compatible,
        "--hardware-compatible": build.hardware_compatible,
        "--strip-weights": build.strip_weights,
        "--refit": build.refit,
    }
    if names := [name for name, wanted in given.items() if wanted]:
        raise UsageError(f"{names[0]}: this is for building an engine, but --engine none builds none; leave one out")


def _engine_request(flavour: Flavour, tiles: Tiles, build: BuildOptions, timing_cache: Path | None) -> EngineRequest:
    """The request for an engine, after checks that need no work."""
    from fxsr.export import EngineRequest
    from fxsr.export.engine.engine import check_options, default_timing_cache

    check_options(flavour, build, timing_cache is not None)
    if tiles.warning:
        _note(tiles.warning)
    return EngineRequest(flavour, tiles, build, timing_cache or default_timing_cache(flavour))


def _write_repository(result: ExportResult, repository: Path, quiet: bool, as_json: bool) -> None:
    """Write the exported model to a Triton model repository."""
    from fxsr.export.engine.triton import served_engine, write_repository

    if result.engine and not served_engine(result.manifest, result.engine) and not quiet:
        _note("Triton can't run engines of TensorRT-RTX; the repository gets the ONNX file")
    folder = write_repository(result.manifest, result.onnx.parent, repository, result.engine)
    if not quiet and not as_json:
        typer.echo(f"{folder} (model repository: {repository})")


def _note(text: str) -> None:
    typer.echo(f"fxsr: note: {text}", err=True)
