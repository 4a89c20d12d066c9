"""The training loop: the stages of a recipe in order.

`train` runs the stages, `Trainer` holds the state of one stage, and `Trainer.step` is one step. Crops and styles depend
on the recipe and the number of the step alone (`fxsr.training.data`), so a run can stop after any step and be resumed
exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.training.crops import Sources
from fxsr.training.data import batches
from fxsr.training.objective import Objective
from fxsr.training.opening import cache_folder, first_generator, lacks_bfloat16, open_run, open_sources
from fxsr.training.recipe import Recipe
from fxsr.training.schedule import StageCost, fit, try_out
from fxsr.training.state import RunFolder

with needs("train"):
    import torch
    from accelerate import Accelerator
    from torch import Tensor

    from fxsr.models.network import Generator
    from fxsr.training.initial import restart_style
    from fxsr.training.memory import memory_errors
    from fxsr.training.speed import Speed, Stopwatch
    from fxsr.training.trainer import Trainer


class Monitor(Protocol):
    """Receives the progress of a run."""

    def say(self, line: str) -> None:
        """Show a message to the user."""
        ...

    def prepare(self, what: str, done: int, count: int) -> None:
        """Report that `done` of `count` pictures of a kind are ready."""
        ...

    def begin(self, stage: str, done: int, steps: int) -> None:
        """Report that a stage starts, or continues after `done` of `steps` steps."""
        ...

    def step(self, stage: str, step: int, losses: Mapping[str, float], rate: float, speed: Speed) -> None:
        """Record the mean losses by term and the speed since the last call, and the learning rate."""
        ...

    def advance(self, stage: str, step: int) -> None:
        """Report that a step is done."""
        ...

    def measure(self, stage: str, step: int, generator: Generator, advance: Callable[[], None]) -> float | None:
        """Validate the averaged generator; returns the figure that selects the best weights, smaller is better.

        Calls `advance` before every picture; what that raises ends the measurement.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: bool
    """False if the run was stopped before its end."""
    stage: str
    step: int
    weights: Path
    """File of the averaged weights."""
    losses: list[Mapping[str, float]] = field(repr=False)
    """The mean losses that `Monitor.step` received, in order."""


def train(
    recipe: Recipe,
    out: Path,
    monitor: Monitor,
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    device: str = "auto",
    minutes: float | None = None,
) -> Outcome:
    """Run a recipe to its end, or until `should_stop`.

    Args:
        recipe: the recipe.
        out: folder of the run; see `fxsr.training.state`.
        monitor: receives progress; if there are several processes, only that of the first.
        resume: continue from the newest state in `out`.
        should_stop: called after every step; if it returns True, the run saves its state and stops.
        device: "auto" or "cpu".
        minutes: time limit, which includes caches and a trial of each stage; the numbers of steps are scaled to fit.
            With `resume` the schedule stays, and the run saves its state and stops in time.

    Raises:
        UsageError: the recipe can't be run with these arguments; the message says why.
        UnavailableError: feature weights or a device are missing.
        TrainingError: a loss became NaN or infinite; names the term.
        OutOfMemoryError: the recipe does not fit into the memory.
    """
    deadline = math.inf if minutes is None else time.monotonic() + minutes * 60
    accelerator = open_run(recipe, device, monitor.say)
    alone = RunFolder(out, recipe).lock() if accelerator.is_main_process else nullcontext()
    with memory_errors(), alone:
        folder = RunFolder(out, recipe)
        state = folder.latest(monitor.say) if resume else None
        if not resume and folder.states():
            raise UsageError(f"{out} holds a run already; continue it with --resume, or start another with --out")
        objectives = {
            name: Objective(stage) for name, stage in recipe.stages.items()
        }  # fails early if feature weights are missing
        generator = first_generator(recipe, recipe.init if state is None else "")
        with accelerator.main_process_first():
            sources = open_sources(recipe, cache_folder(recipe, out), accelerator.device, monitor.say, monitor.prepare)
        if recipe.precision == "bf16" and accelerator.device.type == "cpu" and lacks_bfloat16():
            monitor.say("this CPU has no bfloat16: steps take far longer than with --set precision=fp32")
        if minutes is not None and not state:
            costs = try_out(recipe, sources, generator, accelerator, objectives, monitor.say)
            recipe = fit(recipe, _share_costs(costs, accelerator), deadline - time.monotonic())
            folder = RunFolder(out, recipe)
            monitor.say(f"{_steps(recipe)}, to end in {minutes:g} minutes")
            objectives = {name: Objective(stage) for name, stage in recipe.stages.items()}
        run = _Run(folder, monitor, accelerator, should_stop, deadline)
        stages = list(recipe.stages)
        for name in stages[stages.index(state.stage) if state else 0 :]:
            if recipe.stages[name].restart_style and not state:
                restart_style(generator)
            trainer = Trainer(recipe, name, generator, accelerator, objectives.pop(name))
            if state:
                trainer.load(state)
                state = None
            if not run.run_stage(trainer, sources):
                return Outcome(False, name, trainer.done, folder.weights, run.losses)
            generator = trainer.averaged
        return Outcome(True, stages[-1], recipe.stages[stages[-1]].steps, folder.weights, run.losses)


class _StopError(Exception):
    """Ends a measurement in which the run is to stop."""


class _Run:
    """Runs the steps of each stage: logging, measuring, saving, stopping."""

    def __init__(
        self,
        folder: RunFolder,
        monitor: Monitor,
        accelerator: Accelerator,
        should_stop: Callable[[], bool],
        deadline: float,
    ) -> None:
        self.folder = folder
        self.monitor = monitor
        self.accelerator = accelerator
        self.should_stop = should_stop
        self.deadline = deadline
        self.main = accelerator.is_main_process
        self.losses: list[Mapping[str, float]] = []

    def run_stage(self, trainer: Trainer, sources: Sources) -> bool:
        """Take the remaining steps of a stage; returns False if the run was stopped."""
        recipe, stage, accelerator = trainer.recipe, trainer.stage, self.accelerator
        if self.main:
            self.monitor.begin(trainer.name, trainer.done, stage.steps)
        if not trainer.measured and not self._measured(trainer):  # the run ended in this measurement
            return False
        rank, ranks = accelerator.process_index, accelerator.num_processes
        total: dict[str, Tensor] = {}
        steps = 0
        watch = Stopwatch(stage.crops, accelerator.device)
        stream = batches(recipe, trainer.name, sources, trainer.done, accelerator.device, rank, ranks)
        while parts := tuple(islice(stream, stage.accumulate)):
            for label, loss in trainer.step(*parts).items():
                total[label] = total[label] + loss if label in total else loss
            steps += 1
            done = trainer.done
            last = done == stage.steps
            if done % recipe.log_every == 0 or last or _early(done, stage.steps, recipe.log_every):
                trainer.check()
                self._log(trainer, {label: float(value) / steps for label, value in total.items()}, watch.lap(steps))
                total, steps = {}, 0
            stop = not last and self._agreed(self.should_stop() or time.monotonic() > self.deadline)
            with watch.paused():
                due = bool(recipe.validation.folders) and (last or done % recipe.validation.every == 0)
                trainer.measured = not due
                if due or last or stop or done % recipe.save_every == 0:
                    self._save(trainer)  # before measuring, so that no step is lost if that fails
                if due and not stop:
                    stop = not self._measured(trainer)
            if self.main:
                self.monitor.advance(trainer.name, done)
            if stop:
                return False
        return True

    def _log(self, trainer: Trainer, means: Mapping[str, float], speed: Speed) -> None:
        self.losses.append(means)
        if self.main:
            self.monitor.step(trainer.name, trainer.done, means, trainer.rate, speed)

    def _measured(self, trainer: Trainer) -> bool:
        """Measure the averaged weights and save that, unless the run is to stop meanwhile; returns whether that was
        done."""
        stopped = self.main and not self._measure(trainer)
        trainer.measured = not self._agreed(stopped)
        if trainer.measured:
            self._save(trainer)
        return trainer.measured

    def _measure(self, trainer: Trainer) -> bool:
        def advance() -> None:
            if self.should_stop():
                raise _StopError

        try:
            figure = self.monitor.measure(trainer.name, trainer.done, trainer.averaged, advance)
        except _StopError:
            return False
        if figure is not None and (trainer.best is None or figure < trainer.best):
            trainer.best = figure
            self._write(self.folder.best_weights, trainer)
        return True

    def _save(self, trainer: Trainer) -> None:
        if self.main:
            self.folder.save(trainer.state())
            self._write(self.folder.weights, trainer)
        self.accelerator.wait_for_everyone()

    def _write(self, path: Path, trainer: Trainer) -> None:
        training = f"{trainer.recipe.name}, {trainer.name} stage, {trainer.done} steps"
        self.folder.save_weights(path, trainer.averaged.state_dict(), training)

    def _agreed(self, stop: bool) -> bool:
        """Whether to stop: true in all processes as soon as one of them must."""
        if self.accelerator.num_processes == 1:
            return stop
        flag = torch.tensor([float(stop)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum").item())


def _steps(recipe: Recipe) -> str:
    return " and ".join(f"{stage.steps:,} {name} steps" for name, stage in recipe.stages.items())


def _share_costs(costs: list[StageCost], accelerator: Accelerator) -> list[StageCost]:
    """The costs of the first process: all processes must compute the same number of steps."""
    if accelerator.num_processes == 1:
        return costs
    from accelerate.utils import broadcast_object_list

    return list(broadcast_object_list(costs))


def _early(done: int, steps: int, every: int) -> bool:
    """Whether a step is logged early: the first step, and each tenth of a stage that is shorter than `every`."""
    return (done == 1 and every > 1) or (steps < every and done % max(steps // 10, 1) == 0)
