"""A training run on disk: what is needed to go on bit by bit, and the averaged weights for everyone else.

    RUN/NAME.safetensors                 the newest averaged weights, what `fxsr export --checkpoint` takes
    RUN/NAME-best.safetensors            those that measured best
    RUN/states/STAGE-STEP.pt             everything that resuming needs; the last few stay
    RUN/log/                             TensorBoard
    RUN/validation/STAGE-STEP.json/.png  measurements over t
    RUN/cache/                           decoded images

Every file appears whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fxsr.errors import CheckpointError, FxsrError, UsageError, first_line
from fxsr.extras import needs
from fxsr.files import atomic_path
from fxsr.models.checkpoint import About, Checkpoint, save_checkpoint
from fxsr.training.recipe import STAGES, Recipe
from fxsr.training.recipes import recipe_from_json

with needs("train"):
    import torch
    from torch import Tensor

_MAY_CHANGE = re.compile(
    r"(save_every|log_every|keep|validation\..+|data\.(workers|cache|hr|lr)(\..+)?|init|description|licence)"
)
"""Keys that don't change what is computed from here on, or only where it is found."""
_MAY_TUNE = re.compile(r"\w+\.((discriminator\.)?rate|clip)")
"""Keys that do, and that one changes where a run went astray."""
_PARTS = {"generator", "average", "optimiser"}
_STATE = re.compile(r"(\w+)-(\d+)\.pt")


@dataclass(frozen=True)
class RunState:
    """Where a run stands, and everything that going on depends on."""

    recipe: Recipe
    stage: str
    step: int
    """Steps of the stage that are done."""
    parts: Mapping[str, Any]
    """State dicts: generator, average, optimiser, and of an adversarial stage judge and judge_optimiser."""
    best: float | None = None
    """Best measurement of this stage so far."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe

    @property
    def weights(self) -> Path:
        return self.path / f"{self.recipe.name}.safetensors"

    @property
    def best_weights(self) -> Path:
        return self.path / f"{self.recipe.name}-best.safetensors"

    def states(self) -> list[Path]:
        """Saved states, the newest last."""
        return self.states_in(self.path)

    @staticmethod
    def states_in(folder: Path) -> list[Path]:
        """Those of the run in a folder."""

        def progress(path: Path) -> tuple[int, int]:
            match = _STATE.fullmatch(path.name)
            return (STAGES.index(match[1]), int(match[2])) if match and match[1] in STAGES else (-1, 0)

        found = (folder / "states").glob("*.pt")
        return sorted((path for path in found if progress(path)[0] >= 0), key=progress)

    def save(self, state: RunState) -> None:
        """Write a state, then drop those beyond the last few.

        Raises:
            FxsrError: it can't be written; the older ones stay.
        """
        path = self.path / "states" / f"{state.stage}-{state.step:07d}.pt"
        content = {
            "recipe": state.recipe.to_json(),
            "stage": state.stage,
            "step": state.step,
            "best": state.best,
            "parts": dict(state.parts),
        }
        with atomic_path(path) as temporary:
            try:
                torch.save(content, temporary)
            except RuntimeError as error:  # also of a full disk
                raise FxsrError(f"cannot write {path}: {first_line(error)}") from error
        for old in self.states()[: -self.recipe.keep]:
            old.unlink(missing_ok=True)

    def save_weights(self, path: Path, weights: Mapping[str, Tensor], training: str) -> None:
        """Write a generator's weights as a checkpoint that carries the recipe."""
        recipe = self.recipe
        about = About(recipe.name, recipe.variant, training, recipe.licence)
        arrays = {key: value.detach().float().cpu().numpy() for key, value in weights.items()}
        save_checkpoint(path, Checkpoint(recipe.network.config(), arrays, about, training=recipe.to_json()))

    def latest(self, tell: Callable[[str], None]) -> RunState | None:
        """The newest state that can be read; `tell` hears of those that can't. None if the run has not begun.

        Raises:
            CheckpointError: there are states, but none of them can be read.
            UsageError: the run was begun with a different recipe.
        """
        states = self.states()
        for path in reversed(states):
            try:
                state = _read(path)
            except CheckpointError as error:
                tell(str(error))
                continue
            self._check_same(state.recipe, tell)
            return state
        if states:
            raise CheckpointError(f"{self.path / 'states'}: none of the {len(states)} saved states can be read")
        return None

    def _check_same(self, stored: Recipe, tell: Callable[[str], None]) -> None:
        before, now = _flat(msgspec.to_builtins(stored)), _flat(msgspec.to_builtins(self.recipe))
        changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        longer = {key for key in changed if _lengthens(key, stored, self.recipe)}
        for key in changed:
            if not (_MAY_CHANGE.fullmatch(key) or _MAY_TUNE.fullmatch(key) or key in longer):
                raise UsageError(
                    f"the run in {self.path} was begun with {key} = {before.get(key)}, not {now.get(key)}; "
                    "resume it with the same recipe, or begin another with --out"
                )
        for key in (key for key in changed if _MAY_TUNE.fullmatch(key) or key in longer):
            tell(f"goes on with {key} = {now.get(key)}; it was {before.get(key)}")


def _lengthens(key: str, stored: Recipe, now: Recipe) -> bool:
    """Whether a change of this key makes a stage longer without changing the steps that it has behind it."""
    name, _, rest = key.partition(".")
    before, after = stored.stages.get(name), now.stages.get(name)
    if rest != "steps" or before is None or after is None:
        return False
    return before.schedule != "cosine" and after.steps > before.steps


def stored_recipe(out: Path) -> Recipe | None:
    """The recipe of the run in a folder, out of its newest readable state; None if there is none."""
    states = RunFolder.states_in(out)
    for path in reversed(states):
        try:
            return _read(path).recipe
        except CheckpointError:
            continue
    return None


def _read(path: Path) -> RunState:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        recipe = recipe_from_json(content["recipe"])
        if missing := _PARTS - content["parts"].keys():
            raise UsageError(f"{', '.join(sorted(missing))} missing")
        return RunState(recipe, content["stage"], content["step"], content["parts"], content["best"])
    except Exception as error:  # what torch raises on damaged files is of every kind
        raise CheckpointError(f"{path}: not a readable training state ({first_line(error)})") from error


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(table, dict):
        return {prefix: table}
    return {
        key: value
        for name, inner in table.items()
        for key, value in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
