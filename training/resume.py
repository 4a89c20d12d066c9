"""Reads a saved state of a run, and checks that training can continue from it before anything is changed."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fxsr.errors import CheckpointError, FxsrError, first_line
from fxsr.extras import needs
from fxsr.models.config import is_last_bias, is_style, state_shapes
from fxsr.models.stored import StoredTensor
from fxsr.models.torch_file import read_content
from fxsr.training.discriminator import build_discriminator
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Stage
from fxsr.training.recipes import recipe_from_json

with needs("train"):
    import torch
    from torch import Tensor

_T = TypeVar("_T")
_Shapes = Mapping[str, tuple[int, ...]]

_MAX_STEPS = 20_000_000
"""Instructions of a state's pickle: the largest network that a recipe may ask for has 30,000 tensors, five times."""
_KINDS = {"float32": "f4", "int64": "i8"}
"""Types of the tensors in states, and numpy's names for them."""
_SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
_RENAMED = {"judge": "discriminator", "judge_optimiser": "discriminator_optimiser"}
"""Names of parts in states that earlier versions saved."""


@dataclass(frozen=True)
class RunState:
    """Progress of a run, and everything that is needed to resume it."""

    recipe: Recipe
    stage: str
    step: int
    """Number of completed steps of the stage."""
    parts: Mapping[str, Any]
    """State dicts: generator, average, optimiser; where styles alone learn also held; in adversarial stages also
    discriminator, discriminator_optimiser; in fp16 also scaler. Those that were read hold no settings of the
    optimisers: these are the recipe's."""
    best: float | None = None
    """Best measurement of this stage so far."""
    measured: bool = True
    """False: a measurement was due after this step, and was not made because the run was stopped."""


def read_state(path: Path) -> RunState:
    """Read a state, which `RunFolder.save` wrote, and check all its parts.

    Raises:
        CheckpointError: the file is damaged, or does not fit its own recipe.
    """
    try:
        content = _content(path)
        recipe = recipe_from_json(content["recipe"])
        name, step, best = content["stage"], content["step"], content["best"]
        if name not in recipe.stages or type(step) is not int or path.stem != f"{name}-{step:07d}":
            raise CheckpointError(f"its stage and step are {name!r} and {step!r}, which its name and recipe are not")
        if not 0 <= step <= recipe.stages[name].steps:
            raise CheckpointError(f"its step is {step}; the stage has {recipe.stages[name].steps}")
        if best is not None and not (isinstance(best, float) and math.isfinite(best)):
            raise CheckpointError(f"its best measurement is {best!r}")
        parts = {_RENAMED.get(key, key): part for key, part in _table(content["parts"], "parts").items()}
        checked = _parts(recipe, recipe.stages[name], parts)
        return RunState(recipe, name, step, checked, best, content.get("measured") is not False)
    except KeyError as error:
        raise CheckpointError(f"{path}: not a readable training state ({error} is missing)") from error
    except (FxsrError, OSError, ValueError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = first_line(error).removeprefix(f"{path}: ")
        raise CheckpointError(f"{path}: not a readable training state ({reason})") from error


def read_recipe(path: Path) -> Recipe:
    """The recipe in a saved state.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        return recipe_from_json(_content(path)["recipe"])
    except (FxsrError, OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: holds no readable recipe ({first_line(error)})") from error


def split_style(named: Iterable[tuple[str, _T]]) -> tuple[list[_T], list[_T]]:
    """The parameters of a generator in the order in which its optimiser numbers them: all others, and style layers."""
    style: list[_T] = []
    rest: list[_T] = []
    for name, parameter in named:
        (style if is_style(name) else rest).append(parameter)
    return rest, style


def _content(path: Path) -> Mapping[str, Any]:
    return _table(read_content(path, _MAX_STEPS), "contents")


def _parts(recipe: Recipe, stage: Stage, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that a stage needs, with tensors of torch."""
    shapes = state_shapes(recipe.network.config())
    average = {f"module.{key}": shape for key, shape in shapes.items()}
    rest, style = split_style(shapes.items())
    found: dict[str, Any] = {
        "generator": _tensors("generator", parts["generator"], shapes),
        "average": _tensors("average", parts["average"], {"n_averaged": (), **average}),
        "optimiser": _adam("optimiser", parts["optimiser"], [*rest, *style]),
    }
    if stage.learns == "styles":
        found["held"] = _tensors("held", parts["held"], {key: shapes[key] for key in shapes if is_last_bias(key)})
    if stage.adversarial:
        with torch.device("meta"):
            network = build_discriminator(stage.discriminator)
        kept = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        learnt = [tuple(parameter.shape) for parameter in network.parameters()]
        found["discriminator"] = _tensors("discriminator", parts["discriminator"], kept)
        name = "discriminator_optimiser"
        found[name] = _adam(name, parts[name], learnt)
    if recipe.precision == "fp16":
        scaler = _table(parts["scaler"], "scaler")
        if scaler.keys() != _SCALER or not all(isinstance(value, int | float) for value in scaler.values()):
            raise CheckpointError("its scaler makes no sense")
        found["scaler"] = scaler
    return found


def _tensors(name: str, part: Any, shapes: _Shapes) -> dict[str, Tensor]:
    """The tensors of a state dict, which must have these names and shapes."""
    table = _table(part, name)
    if odd := [*(shapes.keys() - table.keys()), *(table.keys() - shapes.keys())]:
        raise CheckpointError(f"its {name} lacks {sorted(map(str, odd))[0]}, or has it without need")
    return {key: _tensor(f"{key} of its {name}", table[key], shape) for key, shape in shapes.items()}


def _adam(name: str, part: Any, shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Adam's averages, for parameters of these shapes by their number; none of a parameter that had no step yet."""
    state = _table(_table(part, name)["state"], name)
    if not all(type(number) is int and 0 <= number < len(shapes) for number in state):
        raise CheckpointError(f"its {name} belongs to another network")
    found: dict[int, dict[str, Tensor]] = {}
    for number, values in state.items():
        wanted = {"step": (), "exp_avg": shapes[number], "exp_avg_sq": shapes[number]}
        found[number] = _tensors(f"{name} for parameter {number}", values, wanted)
    return {"state": found}


def _tensor(name: str, stored: Any, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(stored, StoredTensor) or stored.odd or stored.dtype not in _KINDS or stored.shape != shape:
        what = f"{stored.dtype} {list(stored.shape)}" if isinstance(stored, StoredTensor) else "no tensor"
        raise CheckpointError(f"{name} is {what}, not one of {list(shape)}")
    kind = _KINDS[stored.dtype]
    values = np.asarray(stored.read(kind), kind)
    if not np.isfinite(values).all():
        raise CheckpointError(f"{name} holds NaN or infinity")
    return torch.from_numpy(values)


def _table(value: Any, name: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"its {name} is no table")
    return value
