"""The files of a training run: states from which it can be resumed exactly, and the averaged weights.

    RUN/NAME.safetensors                 the newest averaged weights, what `fxsr export --checkpoint` takes
    RUN/NAME-best.safetensors            the averaged weights with the best measurement
    RUN/states/STAGE-STEP.pt             everything that resuming needs; only the last few are kept
    RUN/log/                             TensorBoard
    RUN/validation/STAGE-STEP.json/.png  measurements over t
    RUN/cache/                           decoded images

Files are written atomically: a file is either complete or absent, after a power cut too. One process at a time trains
in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from fxsr.errors import CheckpointError, UsageError
from fxsr.extras import needs
from fxsr.files import remove_unfinished
from fxsr.locks import folder_lock
from fxsr.models.checkpoint import About, Checkpoint, save_checkpoint
from fxsr.models.torch_save import save_torch
from fxsr.training.recipe import STAGES, Recipe
from fxsr.training.recipe_stage import Stage
from fxsr.training.resume import RunState, read_recipe, read_state

with needs("train"):
    from torch import Tensor

_MAY_CHANGE = re.compile(
    r"(save_every|log_every|keep|wandb|validation\..+|data\.(workers|cache|hr|lr)(\..+)?|init|description|licence)"
)
"""Keys that may change on resuming: they don't affect the result, or only name where files are."""
_MAY_TUNE = re.compile(r"\w+\.((discriminator\.)?rate|clip)")
"""Keys of a stage that affect the result and may change before its end, to rescue a run that diverged."""
_LOCK = ".fxsr-train.lock"
_STATE = re.compile(r"(\w+)-(\d+)\.pt")


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

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other trainings out of the folder inside the block; remove what killed ones left unfinished.

        Raises:
            UsageError: another training is at work there.
            FxsrError: the folder can't be written to.
        """

        def refuse() -> None:
            raise UsageError(f"another training is writing to {self.path}; wait for it, or give another --out")

        with folder_lock(self.path, _LOCK, "train", refuse):
            for folder in (self.path / "states", self.path / "validation"):
                remove_unfinished(folder)
            yield

    def states(self) -> list[Path]:
        """Saved states, the newest last."""
        return self.states_in(self.path)

    @staticmethod
    def states_in(folder: Path) -> list[Path]:
        """Saved states of the run in a folder, the newest last."""

        def progress(path: Path) -> tuple[int, int]:
            match = _STATE.fullmatch(path.name)
            return (STAGES.index(match[1]), int(match[2])) if match and match[1] in STAGES else (-1, 0)

        found = (folder / "states").glob("*.pt")
        return sorted((path for path in found if progress(path)[0] >= 0), key=progress)

    def save(self, state: RunState) -> None:
        """Write a state, then delete all but the last few.

        Raises:
            FxsrError: the state can't be written; older states are kept.
        """
        path = self.path / "states" / f"{state.stage}-{state.step:07d}.pt"
        content = {
            "recipe": state.recipe.to_json(),
            "stage": state.stage,
            "step": state.step,
            "best": None if state.best is None else float(state.best),
            "measured": state.measured,
            "parts": dict(state.parts),
        }
        save_torch(content, path, "train")
        for old in self.states()[: -self.recipe.keep]:
            old.unlink(missing_ok=True)

    def save_weights(self, path: Path, weights: Mapping[str, Tensor], training: str) -> None:
        """Write a generator's weights as a checkpoint that carries the recipe."""
        recipe = self.recipe
        about = About(recipe.name, recipe.variant, training, recipe.licence)
        arrays = {key: value.detach().float().cpu().numpy() for key, value in weights.items()}
        save_checkpoint(path, Checkpoint(recipe.network.config(), arrays, about, training=recipe.to_json()))

    def latest(self, tell: Callable[[str], None]) -> RunState | None:
        """The newest readable state, or None if the run has none. Unreadable states are reported with `tell`.

        Raises:
            CheckpointError: there are states, but none of them can be read.
            UsageError: the run was started with a different recipe.
        """
        states = self.states()
        for path in reversed(states):
            try:
                state = read_state(path)
            except CheckpointError as error:
                tell(str(error))
                continue
            self._check_same(state, tell)
            return state
        if states:
            raise CheckpointError(f"{self.path / 'states'}: none of the {len(states)} saved states can be read")
        return None

    def _check_same(self, state: RunState, tell: Callable[[str], None]) -> None:
        before, now = _flat(msgspec.to_builtins(state.recipe)), _flat(msgspec.to_builtins(self.recipe))
        changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        telling = [key for key in changed if not _MAY_CHANGE.fullmatch(key)]
        for key in telling:
            if _is_over(key.partition(".")[0], state, self.recipe):
                raise UsageError(
                    f"{key} = {now.get(key)} comes too late: this stage of the run in {self.path} is over, with "
                    f"{before.get(key)}; leave it out, or start another run with --out"
                )
            if not _may_follow(key, state, self.recipe):
                raise UsageError(
                    f"the run in {self.path} was started with {key} = {before.get(key)}, not {now.get(key)}; "
                    "resume it with the same recipe, or start another run with --out"
                )
        for key in telling:
            tell(f"continues with {key} = {now.get(key)}; it was {before.get(key)}")


def _is_over(name: str, state: RunState, now: Recipe) -> bool:
    """Whether `name` is a stage that takes no more steps after a state."""
    if name == state.stage:
        return all(name in each.stages and state.step >= each.stages[name].steps for each in (state.recipe, now))
    return name in STAGES and STAGES.index(name) < STAGES.index(state.stage)


def _may_follow(key: str, state: RunState, now: Recipe) -> bool:
    """Whether a run can continue from a state with another value of a key: completed steps would be the same."""
    name, _, rest = key.partition(".")
    if name not in STAGES:
        return False
    if name != state.stage:
        return STAGES.index(name) > STAGES.index(state.stage)
    return bool(_MAY_TUNE.fullmatch(key)) or (rest == "steps" and _is_longer(state.recipe.stages[name], now, name))


def _is_longer(before: Stage, now: Recipe, name: str) -> bool:
    """Whether a stage has more steps now, and a schedule that does not depend on their number."""
    return name in now.stages and before.schedule != "cosine" and now.stages[name].steps > before.steps


def stored_recipe(out: Path) -> Recipe | None:
    """The recipe in the newest readable state of a run's folder; None if there is no such state."""
    for path in reversed(RunFolder.states_in(out)):
        with suppress(CheckpointError):
            return read_recipe(path)
    return None


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:
    """Values by their keys as --set writes them."""
    if isinstance(table, list | tuple) and table and all(isinstance(each, dict) for each in table):
        table = {str(number): each for number, each in enumerate(table)}
    if not isinstance(table, dict):
        return {prefix: table}
    return {
        key: value
        for name, inner in table.items()
        for key, value in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
