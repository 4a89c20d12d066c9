"""The command about files that deploy: `fxsr export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fxsr.cli.options import Json, Quiet
from fxsr.errors import UsageError

if TYPE_CHECKING:
    from fxsr.export.engine.builder import BuildEvent


class EngineChoice(StrEnum):
    """What `fxsr export` builds beside the ONNX file."""

    auto = "auto"
    none = "none"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"


class PixelType(StrEnum):
    """Type of images that a graph takes."""

    float = "float"
    uint8 = "uint8"


_ENGINE = "Engine"


def export(
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A .pth or .safetensors file of FxSR weights.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="A bundled model's name. [default: the bundled model]")
    ] = None,
    scale: Annotated[
        int | None, typer.Option("--scale", help="Fail unless the model upscales by this: 2, 4 or 8.")
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Weights, arithmetic, inputs and output in half precision.")
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Weights and arithmetic in bfloat16, inputs and output in float32.")
    ] = False,
    fp32: Annotated[bool, typer.Option("--fp32", help="All in single precision. [default]")] = False,
    io: Annotated[
        PixelType,
        typer.Option("--io", help="uint8: images and style as bytes, (n, h, w, 3); conversion is in the graph."),
    ] = PixelType.float,
    packed: Annotated[
        bool, typer.Option("--packed", help="One input of four channels, RGB and t, for runtimes that take one only.")
    ] = False,
    bake_t: Annotated[
        float | None, typer.Option("--bake-t", help="Fix the style: no t_map, no style layers, a plain faster graph.")
    ] = None,
    esrgan: Annotated[
        bool, typer.Option("--esrgan", help="With --bake-t: also write the weights of a plain ESRGAN, .pth.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("engines"),
    name: Annotated[
        str | None, typer.Option("--name", help="Model name in file names and manifest. [default: the checkpoint's]")
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not compare the result with the checkpoint.")
    ] = False,
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", help="A photo or a folder of them to verify it on, beside the bundled ones."),
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option("--triton", metavar="DIR", help="Also write the model into this repository of a Triton server."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write anew what is there and up to date.")] = False,
    no_fold: Annotated[
        bool, typer.Option("--no-fold", help="For debugging: leave condition branch and style layers as they are.")
    ] = False,
    no_blocked: Annotated[
        bool,
        typer.Option(
            "--no-blocked",
            help="Not in the form that is fastest on a CPU: for ONNX Runtime on a GPU, and for debugging.",
        ),
    ] = False,
    no_phase: Annotated[bool, typer.Option("--no-phase", help="For debugging: enlarge first, then convolve.")] = False,
    no_strips: Annotated[
        bool,
        typer.Option("--no-strips", help="For debugging: the network's end in one piece, which takes more memory."),
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Float32 arithmetic, weights stored as halves: half the file.")
    ] = False,
    engine: Annotated[
        EngineChoice,
        typer.Option(
            "--engine",
            help="Engine to build from the ONNX file. auto: tensorrt where it and a GPU are, else tensorrt-rtx if "
            "installed, which needs no GPU to build, else none.",
            rich_help_panel=_ENGINE,
        ),
    ] = EngineChoice.auto,
    tile: Annotated[
        int | None,
        typer.Option("--tile", help="Side of the LR tiles that it takes. [default: 256]", rich_help_panel=_ENGINE),
    ] = None,
    shapes: Annotated[
        str | None,
        typer.Option(
            "--shapes",
            help="Or a range of tile sizes, HEIGHTxWIDTH: smallest, usual, largest, such as 64x64,256x256,512x512.",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    batch: Annotated[
        str,
        typer.Option("--batch", help="Tiles at once: a number, or MIN,OPT,MAX.", rich_help_panel=_ENGINE),
    ] = "1",
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            "--compute-capability",
            help="tensorrt-rtx: GPUs to build for, such as 8.6; again for more. [default: 8.0 and newer]",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    opt_level: Annotated[
        int | None,
        typer.Option(
            "--opt-level", help="0 to 5: how long to search for fast kernels. [default: 3]", rich_help_panel=_ENGINE
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(
            "--workspace", help="Most memory for one layer, in MB. [default: no limit]", rich_help_panel=_ENGINE
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            "--timing-cache",
            help="tensorrt: file of kernel timings, read and written. [default: in the user's cache folder]",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="tensorrt: runs on later versions of it too.", rich_help_panel=_ENGINE
        ),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        typer.Option(
            "--hardware-compatible",
            help="tensorrt: runs on all GPUs from compute capability 8.0 on.",
            rich_help_panel=_ENGINE,
        ),
    ] = False,
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights",
            help="Leave the weights out: they are taken from the ONNX file later.",
            rich_help_panel=_ENGINE,
        ),
    ] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="Let weights be exchanged later.", rich_help_panel=_ENGINE)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print all that the engine's builder logs.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into an ONNX file and an engine with their manifest, and verify them.

    The ONNX file takes images of any size and batch, and as second input a style map or, as 1x1, one style for all
    pixels. An engine takes tiles of the sizes that it was built for. What is there and up to date is not built again.

    Examples: `fxsr export --scale 4 --fp16`, `fxsr export --checkpoint FxSR-PD-4x.pth --fp16 --tile 192`
    """
    from fxsr.cli.print import print_export
    from fxsr.console import steps
    from fxsr.export import EngineRequest, ExportRequest, export_model
    from fxsr.export.engine.engine import check_options, choose_flavour, default_timing_cache, why_none
    from fxsr.export.engine.profiles import parse_tiles
    from fxsr.export.graph.graph import GraphOptions
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.models.file import ModelFileKind, find_model
    from fxsr.models.manifest import BuildOptions, Precision

    if checkpoint and model:
        raise UsageError("--checkpoint and --model exclude each other")
    if fp16 + bf16 + fp32 > 1:
        raise UsageError("--fp16, --bf16 and --fp32 exclude each other")
    if esrgan and bake_t is None:
        raise UsageError("--esrgan needs --bake-t: a plain ESRGAN has one style")
    source = checkpoint or find_model(model or DEFAULT_MODEL, ModelFileKind.CHECKPOINT).path
    precision: Precision = "fp16" if fp16 else "bf16" if bf16 else "fp32"
    graph = GraphOptions(
        precision,
        fold_styles=not no_fold,
        blocked=not no_blocked,
        phase_upsampling=not no_phase,
        strips=not no_strips,
        compact=compact,
        io=io.value,
        packed=packed,
        baked_t=bake_t,
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
    flavour = choose_flavour(engine)
    target = None
    if flavour:
        check_options(flavour, build, timing_cache is not None)
        target = EngineRequest(flavour, tiles, build, timing_cache or default_timing_cache(flavour))
        if tiles.warning:
            typer.echo(f"fxsr: note: {tiles.warning}", err=True)

    with steps(quiet or as_json or verbose) as show:

        def tell(news: BuildEvent) -> None:
            if verbose:
                typer.echo(news.text, err=True)
            elif news.kind == "phase":
                show(news.text)

        request = ExportRequest(
            source, out, graph, target, scale, name, not no_verify, tuple(images or ()), esrgan, force
        )
        exported = export_model(request, tell)
    print_export(exported, quiet=quiet, as_json=as_json)
    if exported.lost and not quiet:
        text = f"{', '.join(exported.lost)}: built from the graph that was here before, and can't be used any more"
        typer.echo(f"fxsr: note: {text}", err=True)
    if triton and not exported.failed:
        from fxsr.export.engine.triton import served_engine, write_repository

        if exported.engine and not served_engine(exported.manifest, exported.engine) and not quiet:
            typer.echo("fxsr: note: Triton can't run engines of TensorRT-RTX; its model is the ONNX file", err=True)
        written = write_repository(exported.manifest, exported.onnx.parent, triton, exported.engine)
        if not quiet and not as_json:
            typer.echo(f"{written} (model repository: {triton})")
    if engine == EngineChoice.auto and flavour is None and not quiet:
        typer.echo(f"fxsr: note: no engine was built. {why_none()}", err=True)
    if exported.failed:
        raise typer.Exit(1)


def verify(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Checkpoints, .onnx files, engines. Each is compared with the first; a single one with the ONNX file "
            "or bundled checkpoint that it was made of."
        ),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", help="A photo or a folder of them to compare on, beside the bundled ones."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Of two files: find the first layer in which they differ too much.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare checkpoints, ONNX files and engines on real photos, over t and with style maps, in two sizes and batches.

    The exit status is 1 if any differs by more than its precision allows, 3 if one can't be run on this machine. What
    was measured goes into the manifest beside a file that was made of the first.

    Examples: `fxsr verify FxSR-PD-4x.pth engines/fxsr-pd-x4-fp16.onnx`, `fxsr verify engines/fxsr-pd-x4-fp16.plan`
    """
    from fxsr.cli.print import print_comparisons, print_layers
    from fxsr.console import steps
    from fxsr.export.verify.cases import bundled_photos, read_photos
    from fxsr.export.verify.compare import compare_files, read_models

    photos = read_photos(images or ())
    subjects = read_models(files)
    with steps(quiet or as_json) as show:
        if layers:
            from fxsr.export.verify.layer_diff import compare_layers

            if len(subjects) != 2:
                raise UsageError("--layers compares two files")
            show("comparing layers")
            found = compare_layers(subjects[0], subjects[1], photos or bundled_photos())
        else:
            compared = compare_files(subjects, bundled_photos() | photos, show)
    if layers:
        print_layers(found, quiet=quiet, as_json=as_json)
        if not all(layer.passed for layer in found):
            raise typer.Exit(1)
        return
    print_comparisons(compared, quiet=quiet, as_json=as_json)
    if any(each.verification and not each.verification.passed for each in compared):
        raise typer.Exit(1)
    if obstacle := next((each.obstacle for each in compared if each.obstacle), None):
        raise obstacle
