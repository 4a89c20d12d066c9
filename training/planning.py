"""What a recipe takes on this machine (`fxsr train --plan`), found out with a few of its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from fxsr.extras import needs
from fxsr.scratch import scratch_folder
from fxsr.training.objective import Objective
from fxsr.training.opening import first_generator, open_run, open_sources
from fxsr.training.recipe import Recipe
from fxsr.training.samples import count_taught
from fxsr.training.schedule import StageCost, describe_costs, describe_seconds, try_out

with needs("train"):
    import torch

    from fxsr.training.memory import memory_errors

_PICTURES = 3
"""Pictures of each kind of input that are enough: what a step takes depends on the size of crops alone."""


@dataclass(frozen=True)
class TeacherCost:
    """Cost of a teacher's pictures on this machine, before training."""

    teacher: str
    pictures: int
    seconds: float
    """Per picture."""


@dataclass(frozen=True)
class Plan:
    """Cost of a recipe on this machine."""

    device: str
    teachers: tuple[TeacherCost, ...]
    stages: tuple[StageCost, ...]

    def describe(self) -> list[str]:
        """Lines for readers: teachers, stages, total."""
        return [
            *(
                f"teacher {each.teacher}: {each.pictures:,} pictures of about {each.seconds:.2g} s, "
                f"{describe_seconds(each.pictures * each.seconds)}, once"
                for each in self.teachers
            ),
            *describe_costs(self.stages, self.device),
        ]


class _TeacherClock:
    """Measures how long each teacher takes for a picture, by the progress of making them."""

    def __init__(self) -> None:
        self._ends: list[tuple[str, float]] = []

    def progress(self, what: str, done: int, count: int) -> None:
        self._ends.append((what, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds per picture by teacher, without the first, in which libraries choose their algorithms."""
        found = {}
        for what, group in groupby(self._ends, lambda end: end[0]):
            ends = [end for _, end in group]
            kind, _, name = what.partition(" ")
            if kind == "teacher" and len(ends) > 1:
                found[name] = (ends[-1] - ends[0]) / (len(ends) - 1)
        return found


def plan_recipe(recipe: Recipe, tell: Callable[[str], None], device: str = "auto") -> Plan:
    """Find out what a recipe takes on this machine: time per step, memory, and the time that teachers take before.
    Writes nothing that lasts, and trains nothing.

    Args:
        tell: receives messages for the user.
        device: "auto" or "cpu".

    Raises:
        FxsrError: that of `fxsr.training.loop.train`.
    """
    accelerator = open_run(recipe, device, tell)
    clock = _TeacherClock()
    with memory_errors(), scratch_folder() as folder:
        objectives = {name: Objective(stage) for name, stage in recipe.stages.items()}
        generator = first_generator(recipe, recipe.init)
        sources = open_sources(recipe, folder, accelerator.device, tell, clock.progress, _PICTURES)
        costs = try_out(recipe, sources, generator, accelerator, objectives)
    where = torch.cuda.get_device_name(accelerator.device) if accelerator.device.type == "cuda" else "this CPU"
    inputs = count_taught(recipe.data)
    teachers = tuple(TeacherCost(name, inputs, seconds) for name, seconds in clock.seconds().items())
    return Plan(where, teachers, tuple(costs))
