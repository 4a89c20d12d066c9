"""Prints results of commands as lines, tables or JSON. `fxsr.cli.print_run` does so for `fxsr run`, `print_bench` for
`fxsr bench`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from fxsr.console import plain_console, print_json
from fxsr.errors import foreign_name, printable

if TYPE_CHECKING:
    from fxsr.export import ExportResult
    from fxsr.export.verify.compare import Comparison
    from fxsr.export.verify.layer_diff import LayerDifference
    from fxsr.models.bundled import PublishedModel
    from fxsr.models.manifest import Verification
    from fxsr.training.evaluate import QualityReport
    from fxsr.training.loop import Outcome
    from fxsr.training.native import NativeScores
    from fxsr.training.planning import Plan
    from fxsr.training.recipe import Recipe

_LONGEST = 10_000
"""Characters of a value that are printed."""


def print_note(note: str) -> None:
    """Print a session's note, if there is one, to standard error."""
    if note:
        plain_console(stderr=True, soft_wrap=True).print(f"fxsr: {note}", markup=False)


def print_plot(path: Path, *, quiet: bool) -> None:
    """Print to standard error where a plot was written."""
    if not quiet:
        print_note(f"the plot is in {printable(str(path))}")


def print_export(result: ExportResult, notes: Sequence[str] = (), *, quiet: bool, as_json: bool) -> None:
    """Print what an export wrote and measured. As JSON, `notes` about the request are a part of it."""
    import msgspec

    manifest = result.manifest
    if as_json:
        paths = {"onnx_path": result.onnx, "manifest_path": result.manifest_path, "engine_path": result.engine}
        print_json(
            msgspec.to_builtins(manifest)
            | {name: path and str(path) for name, path in paths.items()}
            | {"reused": result.reused, "engine_not_run": result.engine_not_run, "notes": [*notes]}
        )
        return
    console = plain_console(soft_wrap=True, quiet=quiet)

    def print_file(path: Path, size: int, more: str = "") -> None:
        note = ", up to date" if path.name in result.reused else ""
        console.print(f"{path} ({size / 1e6:.1f} MB{more}{note})", markup=False)

    print_file(result.onnx, manifest.onnx.bytes)
    for engine in manifest.engines:
        if result.engine and engine.file.file == result.engine.name:
            memory = max((profile.activation_bytes or 0 for profile in engine.profiles), default=0)
            print_file(
                result.engine, engine.file.bytes, f", {memory / 1e6:.0f} MB of activations, {engine.seconds:.0f} s"
            )
    if manifest.esrgan:
        esrgan = manifest.esrgan
        differs = f"differs by up to {esrgan.max_abs:.1e} at the borders, {esrgan.inside_max_abs:.1e} inside"
        console.print(f"{result.onnx.with_name(esrgan.file.file)} ({differs})", markup=False)
    console.print(f"{result.manifest_path}", markup=False)
    for layer, reason in manifest.kept_because.items():
        console.print(f"{foreign_name(layer)} is kept in float32 ({foreign_name(reason)})", markup=False)
    verification = manifest.verification
    if verification is None:
        console.print("not verified (--no-verify)")
        return
    passed = sum(check.passed for check in verification.checks)
    worst = max(check.relative if check.relative is not None else float("inf") for check in verification.checks)
    console.print(
        f"verified: {passed} of {len(verification.checks)} comparisons hold "
        f"({verification.threshold}; largest relative difference {worst:.1e})"
    )
    _print_failed(verification)
    for engine in manifest.engines:
        if result.engine and engine.file.file == result.engine.name and engine.verification:
            passed = sum(check.passed for check in engine.verification.checks)
            console.print(f"engine verified: {passed} of {len(engine.verification.checks)} comparisons hold")
            _print_failed(engine.verification)
    if result.engine_not_run:
        console.print(f"engine not run, so only its graph is verified: {result.engine_not_run}", markup=False)


def print_comparisons(comparisons: Sequence[Comparison], *, quiet: bool, as_json: bool) -> None:
    """Print how each file compares with the first, and which comparisons failed."""
    import msgspec

    if as_json:
        print_json(
            [
                {
                    "reference": str(each.reference),
                    "file": str(each.other),
                    "verification": msgspec.to_builtins(each.verification),
                    "not_compared": each.obstacle and str(each.obstacle),
                }
                for each in comparisons
            ]
        )
        return
    console = plain_console(soft_wrap=True, quiet=quiet)
    for each in comparisons:
        if each.verification is None:
            verdict = "not compared"
        else:
            checks = each.verification.checks
            passed = sum(check.passed for check in checks)
            largest = [check.max_abs for check in checks if check.max_abs is not None]
            psnr = min((check.psnr_db for check in checks if check.psnr_db is not None), default=float("inf"))
            difference = f"{max(largest):.1e}" if len(largest) == len(checks) else "NaN"
            verdict = (
                f"{'passed' if each.verification.passed else 'FAILED'}, {passed} of {len(checks)} comparisons hold "
                f"({each.verification.threshold}; lowest PSNR {psnr:.1f} dB, largest difference {difference})"
            )
        console.print(f"{each.other} against {each.reference}: {verdict}", markup=False)
        if each.verification:
            _print_failed(each.verification)


def print_layers(layers: Sequence[LayerDifference], *, quiet: bool, as_json: bool) -> None:
    """Print the first tensor in which two networks differ too much, and the tensors around it."""
    if as_json:
        print_json([vars(layer) for layer in layers])
        return
    first = next((index for index, layer in enumerate(layers) if not layer.passed), None)
    console = plain_console(soft_wrap=True, quiet=quiet)
    if first is None:
        console.print(f"no layer diverges: {len(layers)} compared")
    else:
        console.print(f"first diverging layer: {layers[first].name} ({first + 1} of {len(layers)})", markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("layer", "PSNR dB", "largest difference", "relative"):
        table.add_column(column, overflow="fold")
    around = range(len(layers))[max(0, (first or 0) - 3) :][:8] if first is not None else range(len(layers))[-8:]
    for index in around:
        layer = layers[index]
        psnr = "" if layer.psnr_db is None else f"{layer.psnr_db:.1f}"
        table.add_row(escape(layer.name), psnr, f"{layer.max_abs:.1e}", f"{layer.relative:.1e}")
    console.print(table)


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print names and values as a table."""
    if as_json:
        print_json(facts)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        text = "see --json" if isinstance(value, Mapping) else str(value)
        table.add_row(*(escape(foreign_name(each, _LONGEST)) for each in (name, text)))
    plain_console().print(table)


def print_models(cards: Mapping[str, str], published: Sequence[PublishedModel], as_json: bool) -> None:
    """Print the cards of the bundled models, by model name, and the models that their authors host."""
    from rich.markdown import Markdown  # slow to import, and `fxsr run` needs this module too

    if as_json:
        print_json({"bundled": cards, "published": [vars(model) for model in published]})
        return
    console = plain_console()
    for card in cards.values():
        console.print(Markdown(card))
    table = Table("model", "scale", "authors' page with the link", "recipe", box=None, pad_edge=False)
    for model in published:
        table.add_row(model.name, f"x{model.scale}", model.page, model.recipe)
    console.print(Markdown("# Published models"))
    console.print(table)
    console.print("\nDownload a .pth file from there, then type: fxsr export --checkpoint FILE.pth")


def print_recipes(recipes: Sequence[Recipe], as_json: bool) -> None:
    """Recipes with what they are for."""
    if as_json:
        print_json({recipe.name: json.loads(recipe.to_json()) for recipe in recipes})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "scale", "parameters", "what it is"):
        table.add_column(column, justify="right" if column in ("scale", "parameters") else "left", overflow="fold")
    for recipe in recipes:
        config = recipe.network.config()
        table.add_row(recipe.name, f"x{config.scale}", f"{config.parameters:,}", escape(recipe.description))
    plain_console().print(table)


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """What a recipe takes on this machine. As JSON, in seconds and bytes."""
    from dataclasses import asdict

    if as_json:
        print_json(asdict(plan))
        return
    plain_console(soft_wrap=True).print("\n".join(plan.describe()), markup=False)


def print_run(outcome: Outcome, *, quiet: bool, as_json: bool) -> None:
    """How a training run ended and what it left."""
    if as_json:
        print_json(
            {
                "finished": outcome.finished,
                "stage": outcome.stage,
                "step": outcome.step,
                "weights": str(outcome.weights),
            }
        )
        return
    ending = "done" if outcome.finished else "stopped; go on with --resume"
    console = plain_console(soft_wrap=True, quiet=quiet)
    console.print(f"{outcome.weights} ({outcome.stage} stage, step {outcome.step}, {ending})", markup=False)


def print_quality(report: QualityReport, *, quiet: bool, as_json: bool) -> None:
    """Measurements over t, with bicubic enlargement for comparison."""
    from dataclasses import asdict

    if as_json:
        print_json(asdict(report))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("t", "PSNR-Y dB", "gain dB", "SSIM", "LR-PSNR dB", "shift /255", "perceptual"):
        table.add_column(column, justify="right")
    baseline = report.scores[0]
    for scores in report.scores:
        table.add_row(
            "bicubic" if scores.t is None else f"{scores.t:g}",
            f"{scores.psnr:.2f}",
            "" if scores.t is None else f"{scores.psnr - baseline.psnr:+.2f}",
            f"{scores.ssim:.4f}",
            f"{scores.lr_psnr:.2f}",
            f"{scores.shift:.2f}",
            "" if scores.perceptual is None else f"{scores.perceptual:.4f}",
        )
    console = plain_console(quiet=quiet)
    console.print(table)
    console.print(f"{report.images} images; means over them")
    if report.diversity is not None:
        console.print(f"diversity {report.diversity:.2f} %")


def print_native(scores: Sequence[NativeScores], *, quiet: bool, as_json: bool) -> None:
    """Measurements on photos without originals, with bicubic enlargement for comparison."""
    from dataclasses import asdict

    if as_json:
        print_json([asdict(each) for each in scores])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("t", "grid /255", "change /255"):
        table.add_column(column, justify="right")
    for each in scores:
        change = "" if each.change is None else f"{each.change:.2f}"
        table.add_row("bicubic" if each.t is None else f"{each.t:g}", f"{each.grid:.3f}", change)
    plain_console(quiet=quiet).print(table)


def _print_failed(verification: Verification) -> None:
    err = plain_console(stderr=True, soft_wrap=True)
    for check in verification.checks:
        if check.passed:
            continue
        figures = "NaN or infinity"
        if check.relative is not None and check.psnr_db is not None:
            figures = f"PSNR {check.psnr_db:.1f} dB, relative difference {check.relative:.1e}"
        err.print(f"fxsr: verification failed: {check.case}: {figures}", markup=False)
