"""The log of a run in Weights & Biases, for recipes whose key `wandb` asks for it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fxsr.errors import UnavailableError, first_line
from fxsr.extras import needs
from fxsr.files import atomic_path
from fxsr.training.cache import Pixels
from fxsr.training.recipe import Recipe

_PROJECT = "fxsr"
_ID = "wandb-id.txt"


class WandbLog:
    """A log that starts with its first entry.

    Its project is "fxsr", or that of WANDB_PROJECT. Only the recipe, figures and pictures are recorded: no code, no
    terminal output, no measurements of the machine.

    Args:
        folder: folder of the log. A run that is resumed there continues its own log.
        recipe: recipe of the run. `recipe.wandb` is "offline", where all stays in the folder until `wandb sync`, or
            "online".

    Raises:
        MissingExtraError: the package is not installed.
        UnavailableError: from every method but `close`; the service can't be reached, or does not know the user.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        with needs("wandb"):
            import wandb
        self._wandb: Any = wandb
        self._folder, self._recipe = folder, recipe
        self._run: Any = None

    def add_scalars(self, stage: str, figures: Mapping[str, float], step: int) -> None:
        """Record figures by name at a step of a stage."""
        self._write(stage, figures, step)

    def add_image(self, stage: str, name: str, pixels: Pixels, step: int) -> None:
        """Record an (H, W, 3) uint8 picture."""
        self._write(stage, {name: self._wandb.Image(pixels)}, step)

    def close(self) -> None:
        if self._run:
            self._run.finish()

    def _write(self, stage: str, values: Mapping[str, object], step: int) -> None:
        with self._complaints():
            if self._run is None:
                self._run = self._start()
            place = f"{stage}/step"
            self._run.define_metric(place, hidden=True)
            self._run.define_metric(f"{stage}/*", step_metric=place)  # the steps of each stage begin with 1
            self._run.log({place: step, **{f"{stage}/{name}": value for name, value in values.items()}})

    def _start(self) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._wandb.Settings(
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        return self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=self._recipe.name,
            id=self._identity(),
            resume="allow" if self._recipe.wandb == "online" else None,
            mode=self._recipe.wandb,
            dir=self._folder,
            config=json.loads(self._recipe.to_json()),
            settings=settings,
        )

    def _identity(self) -> str:
        """The name by which the service knows this run, kept in the folder."""
        path = self._folder / _ID
        if not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_text(secrets.token_hex(8))
        return path.read_text().strip()

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except self._wandb.Error as error:
            raise UnavailableError(
                f"wandb: {first_line(error)}; type `wandb login`, or --set wandb=offline or wandb=off"
            ) from error
