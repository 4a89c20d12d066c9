"""Progress and records of a run: progress line, logs, pictures, measurements on images that are not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from fxsr.console import json_text
from fxsr.errors import MissingExtraError
from fxsr.extras import needs
from fxsr.files import atomic_path
from fxsr.images.image import repeat_pixels
from fxsr.plots import check_plot
from fxsr.training.cache import Pixels
from fxsr.training.evaluate import STYLES, Pair, QualityReport, evaluate, load_pairs, spread
from fxsr.training.event_log import EventLog
from fxsr.training.picture_files import PictureFiles
from fxsr.training.plots import plot_tradeoff
from fxsr.training.recipe import Recipe
from fxsr.training.speed import Speed
from fxsr.training.wandb_log import WandbLog

with needs("train"):
    import torch

    from fxsr.models.network import Generator
    from fxsr.training.perceptual import PerceptualDistance

_STRIPS = 4
"""Number of validation images that are shown at all styles, side by side."""
_STRIP_SIDE = 256
"""Side of what is shown of each, in HR pixels."""


class RunMonitor:
    """Shows and records a run. A context manager: closes its files.

    Args:
        recipe: recipe of the run.
        out: folder of the run.
        quiet: no progress line and no measurements; warnings are still printed.
    """

    def __init__(self, recipe: Recipe, out: Path, *, quiet: bool = False) -> None:
        self._recipe = recipe
        self._out = out
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("eta", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            # losses that do not fit are cut off, other columns are not
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
            expand=True,
            console=self._err,
            disable=quiet or not self._err.is_terminal,
        )
        self._quiet = quiet
        self._logs: list[EventLog | WandbLog] = [EventLog(out / "log")]
        if recipe.wandb != "off":
            self._logs.append(WandbLog(out / "log", recipe))
        self._tasks: dict[str, Any] = {}
        self._pairs: list[Pair] = []
        self._distance: PerceptualDistance | None = None
        self._plots = False
        """Whether measurements are plotted."""
        self._steps: dict[str, int] = {}
        """Number of steps of each stage that began; a time limit makes it differ from the recipe's."""

    def say(self, line: str) -> None:
        self._err.print(f"fxsr: {line}", markup=False)

    def prepare(self, what: str, done: int, count: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=count, losses="")
        self._bar.update(self._tasks[what], completed=done)
        if not (self._quiet or self._err.is_terminal) and (done == count or done % max(count // 20, 1) == 0):
            self._err.print(f"{what} {done}/{count}", markup=False)

    def begin(self, stage: str, done: int, steps: int) -> None:
        """Load the validation images and feature weights before the first stage. Says if measurements can't be plotted.

        Raises:
            UsageError: a validation folder is missing or empty.
            UnavailableError: feature weights are not available.
        """
        validation = self._recipe.validation
        if validation.folders and not self._pairs:
            self._pairs = load_pairs(validation.folders, (), self._recipe.network.scale, validation.images, self.say)
            self._distance = None if validation.features == "none" else PerceptualDistance(validation.features)
            self._plots = self._distance is not None and self._can_plot()
        self._steps[stage] = steps
        self._tasks[stage] = self._bar.add_task(stage, total=steps, completed=done, losses="")

    def advance(self, stage: str, step: int) -> None:
        self._bar.update(self._tasks[stage], completed=step)

    def step(self, stage: str, step: int, losses: Mapping[str, float], rate: float, speed: Speed) -> None:
        figures = {
            **losses,
            "rate": rate,
            "seconds_per_step": speed.seconds,
            "samples_per_second": speed.samples,
            "memory_gib": speed.memory / 2**30,
        }
        self._add(stage, figures, step)
        shown = "  ".join(f"{label} {loss:.4g}" for label, loss in losses.items())
        self._bar.update(self._tasks[stage], losses=shown)
        if not (self._quiet or self._err.is_terminal):
            self._err.print(f"{stage} {step}/{self._steps[stage]}  {shown}", markup=False)

    def measure(self, stage: str, step: int, generator: Generator, advance: Callable[[], None]) -> float | None:
        if not self._pairs:  # of a run that was resumed without the folders
            return None
        upscale = _GeneratorUpscaler(generator, advance)
        if self._distance:
            self._distance.to(next(generator.parameters()).device)
        validation = self._recipe.validation
        scale = self._recipe.network.scale
        pictures = PictureFiles(self._out / "validation", validation.pictures)
        keep = pictures.writer(stage, step)
        report = evaluate(upscale, self._pairs, scale, STYLES, self._distance, spread(validation.diversity), keep=keep)
        pictures.remove_old()
        self._record(stage, step, report)
        for pair in self._pairs[:_STRIPS]:
            strip = _strip(upscale, pair, scale)
            for log in self._logs:
                log.add_image(stage, pair.name, strip, step)
        last, first = report.scores[-1], report.scores[1]
        if stage == "conditional" and last.perceptual is not None:
            return last.perceptual
        return -first.psnr

    def _can_plot(self) -> bool:
        try:
            check_plot(Path("validation.png"))
        except MissingExtraError as error:
            self.say(f"measurements are not plotted: {error}")
            return False
        return True

    def _add(self, stage: str, figures: Mapping[str, float], step: int) -> None:
        for log in self._logs:
            log.add_scalars(stage, figures, step)

    def _record(self, stage: str, step: int, report: QualityReport) -> None:
        figures = {
            f"{name}/t={scores.t:g}": value
            for scores in report.scores[1:]
            for name, value in asdict(scores).items()
            if name != "t" and value is not None
        }
        self._add(stage, figures | ({} if report.diversity is None else {"diversity": report.diversity}), step)
        base = self._out / "validation" / f"{stage}-{step:07d}"
        with atomic_path(base.with_suffix(".json")) as temporary:
            temporary.write_text(json_text(asdict(report)))
        if self._plots:
            plot_tradeoff(report, f"{stage}, step {step}", base.with_suffix(".png"))
        ends = report.scores[1], report.scores[-1]
        if not self._quiet:
            self.say(f"{stage} {step}: " + "; ".join(_describe(scores) for scores in ends))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        for log in self._logs:
            log.close()


class _GeneratorUpscaler:
    """Upscales uint8 pictures with a generator; calls `advance` before each."""

    def __init__(self, generator: Generator, advance: Callable[[], None]) -> None:
        self._generator = generator
        self._advance = advance

    def __call__(self, lr: Pixels, t: float) -> Pixels:
        self._advance()
        device = next(self._generator.parameters()).device
        with torch.inference_mode():
            x = torch.tensor(lr, device=device).permute(2, 0, 1)[None].float() / 255
            sr = self._generator(x, torch.full((1, 1, 1, 1), t, device=device))
            pixels = (sr[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0)
        return np.asarray(pixels.cpu().numpy())


def _strip(upscale: _GeneratorUpscaler, pair: Pair, scale: int) -> Pixels:
    """The middle of an image: the magnified input, the result at every style, the original."""
    side = min(_STRIP_SIDE // scale, *pair.lr.shape[:2])
    top, left = ((size - side) // 2 for size in pair.lr.shape[:2])
    lr = pair.lr[top : top + side, left : left + side]
    hr = pair.hr[top * scale :, left * scale :][: side * scale, : side * scale]
    return np.hstack([repeat_pixels(lr, scale), *(upscale(lr, t) for t in STYLES), hr])


def _describe(scores: Any) -> str:
    perceptual = "" if scores.perceptual is None else f", perceptual {scores.perceptual:.4f}"
    return f"t={scores.t:g} PSNR {scores.psnr:.2f} dB{perceptual}"
