"""The command that compares model files: `fxsr verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fxsr.cli.options import Json, Quiet
from fxsr.cli.panels import INPUT_OUTPUT
from fxsr.errors import UsageError


def verify(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Checkpoints, .onnx files, engines. Each is compared with the first; a single file is compared with "
            "the ONNX file or bundled checkpoint that it was made from."
        ),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            help="A photo, or a folder of photos, to compare on in addition to the bundled ones. Repeatable.",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Find the first layer in which two files differ too much.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare checkpoints, ONNX files and engines on photos, at several styles, sizes and batches.

    The exit status is 1 if a file differs by more than its precision allows, and 3 if one can't be run on this machine.
    The result is saved in the manifest of each file that was made from the first one.

    Examples: `fxsr verify FxSR-PD-4x.pth engines/fxsr-pd-x4-fp16.onnx`, `fxsr verify engines/fxsr-pd-x4-fp16.plan`
    """
    from fxsr.cli.print import print_comparisons, print_layers
    from fxsr.console import steps
    from fxsr.export.verify.cases import bundled_photos, read_photos
    from fxsr.export.verify.compare import compare_files, read_models
    from fxsr.export.verify.layer_diff import compare_layers

    photos = read_photos(images or ())
    models = read_models(files)
    if layers:
        if len(models) != 2:
            raise UsageError("--layers compares two files")
        with steps(quiet or as_json) as show:
            show("comparing layers")
            differences = compare_layers(models[0], models[1], photos or bundled_photos())
        print_layers(differences, quiet=quiet, as_json=as_json)
        if not all(each.passed for each in differences):
            raise typer.Exit(1)
        return
    with steps(quiet or as_json) as show:
        comparisons = compare_files(models, bundled_photos() | photos, show)
    print_comparisons(comparisons, quiet=quiet, as_json=as_json)
    if any(each.verification and not each.verification.passed for each in comparisons):
        raise typer.Exit(1)
    if obstacle := next((each.obstacle for each in comparisons if each.obstacle), None):
        raise obstacle
