"""The cost of a recipe on this machine (`fxsr train --plan`), and a recipe that fits a time limit (`--minutes`).

Both are based on a trial: a few steps of every stage for each set of terms that are active together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import msgspec

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_data import MAX_STEPS
from fxsr.training.recipe_stage import Stage
from fxsr.training.speed import peak_memory

with needs("train"):
    import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from fxsr.models.network import Generator
    from fxsr.training.crops import Sources
    from fxsr.training.objective import Objective

_TRIAL = 3
"""Number of timed steps. One step before them is not timed, because libraries then choose their algorithms."""
_RESERVE = 0.04
"""Share of the time that is reserved for saving, measuring and steps that take longer than in the trial."""


@dataclass(frozen=True)
class Phase:
    """Range of steps of a stage in which the same terms are active."""

    first: int
    last: int
    """Exclusive."""
    seconds: float
    """Per step."""


@dataclass(frozen=True)
class StageCost:
    """Cost of a stage on this machine."""

    stage: str
    phases: tuple[Phase, ...]
    memory: int
    """Peak memory so far, in bytes: of the GPU, or of this process on a CPU."""

    @property
    def steps(self) -> int:
        return self.phases[-1].last

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return sum((phase.last - phase.first) * phase.seconds for phase in self.phases)


def borders(stage: Stage) -> list[int]:
    """The steps at which terms become active, with 0 and the end of the stage."""
    adversarial = any(term.kind == "adversarial" for term in stage.terms)
    starts = [term.start for term in stage.terms] + [stage.discriminator.start] * adversarial
    return sorted({0, stage.steps, *(start for start in starts if start < stage.steps)})


def try_out(
    recipe: Recipe,
    sources: Sources,
    generator: Generator,
    accelerator: Accelerator,
    objectives: Mapping[str, Objective],
    tell: Callable[[str], None] = lambda _: None,
) -> list[StageCost]:
    """Time a few steps of every phase. Works on copies: the generator and the later batches are not affected.

    Args:
        recipe, sources, generator, accelerator, objectives: as for training.
        tell: receives messages for the user.
    """
    from fxsr.training.data import batches
    from fxsr.training.trainer import Trainer

    costs = []
    for name, stage in recipe.stages.items():
        tell(f"timing the {name} stage")
        trainer = Trainer(recipe, name, deepcopy(generator), accelerator, objectives[name])
        rank, ranks = accelerator.process_index, accelerator.num_processes
        stream = batches(recipe, name, sources, 0, accelerator.device, rank, ranks)
        trial = [tuple(islice(stream, stage.accumulate)) for _ in range(min(1 + _TRIAL, stage.steps))]
        timed = trial[1:] or trial  # a stage of one step takes it twice
        phases = []
        for first, last in pairwise(borders(stage)):
            trainer.done = first
            trainer.step(*trial[0])
            _wait(accelerator.device)
            begin = time.perf_counter()
            for parts in timed:
                trainer.done = first
                trainer.step(*parts)
            _wait(accelerator.device)
            phases.append(Phase(first, last, (time.perf_counter() - begin) / len(timed)))
        costs.append(StageCost(name, tuple(phases), peak_memory(accelerator.device)))
        accelerator.free_memory()
    return costs


def fit(recipe: Recipe, costs: Sequence[StageCost], seconds: float) -> Recipe:
    """Scale the numbers of steps of a recipe to a time limit, with all milestones, starts and intervals.

    Args:
        recipe: the recipe.
        costs: what its stages take.
        seconds: the time that is left; negative if caches and trials took longer than the limit.

    Raises:
        UsageError: the time is too short for one step of each stage; says how much is missing.
    """
    total = sum(cost.seconds for cost in costs)
    least = total / min(cost.steps for cost in costs) / (1 - _RESERVE)
    if seconds < least:
        missing = math.ceil((least - seconds) / 6) / 10
        raise UsageError(
            f"{max(seconds, 0) / 60:.3g} minutes are left after the preparations, less than a step of each stage takes "
            f"in the recipe's proportions; give {missing:g} more"
        )
    factor = seconds * (1 - _RESERVE) / total
    stages = {cost.stage: _scale_stage(recipe.stages[cost.stage], factor) for cost in costs}
    every = max(1, round(recipe.validation.every * min(factor, 1)))
    return msgspec.structs.replace(
        recipe,
        **stages,
        save_every=max(1, round(recipe.save_every * min(factor, 1))),
        validation=msgspec.structs.replace(recipe.validation, every=every),
    )


def _scale_stage(stage: Stage, factor: float) -> Stage:
    def scale(step: int) -> int:
        return min(round(step * factor), MAX_STEPS)

    terms = tuple(msgspec.structs.replace(term, start=scale(term.start), ramp=scale(term.ramp)) for term in stage.terms)
    return msgspec.structs.replace(
        stage,
        steps=min(max(1, int(stage.steps * factor)), MAX_STEPS),
        warmup=scale(stage.warmup),
        milestones=tuple(map(scale, stage.milestones)),
        terms=terms,
        discriminator=msgspec.structs.replace(stage.discriminator, start=scale(stage.discriminator.start)),
    )


def describe_costs(costs: Sequence[StageCost], device: str) -> list[str]:
    """One line for each stage, and one for the total."""
    lines = []
    for cost in costs:
        each = ", then ".join(f"{phase.seconds:.3g} s" for phase in cost.phases)
        lines.append(
            f"{cost.stage}: {cost.steps:,} steps of {each} on {device}, {describe_seconds(cost.seconds)}; "
            f"memory {cost.memory / 2**30:.1f} GiB"
        )
    return [*lines, f"total {describe_seconds(sum(cost.seconds for cost in costs))}, without measuring"]


def describe_seconds(seconds: float) -> str:
    """A time for readers: seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
