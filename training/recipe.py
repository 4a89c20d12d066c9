"""Recipes: everything that determines a training run, as validated values.

Data only: `fxsr.training.recipes` reads recipes, `fxsr.training.loop` runs them. docs/training.md describes every key.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from fxsr.errors import UsageError, foreign_name
from fxsr.models.config import MAX_BLOCKS, MAX_CHANNELS, NetworkConfig
from fxsr.training.recipe_data import MAX_ITEMS, Data, Part, Positive, Share, Teacher, Text, Validation
from fxsr.training.recipe_stage import Stage
from fxsr.user_code import is_user_code

Channels: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_CHANNELS)]

STAGES = ("psnr", "conditional")
_MAX_NAME = 100


class Network(Part, frozen=True):
    """Size of the generator, with the keys and defaults of `fxsr.models.config.NetworkConfig`."""

    scale: Annotated[int, Meta(ge=1, le=8)] = 4
    trunk: Text = "rrdb"
    nf: Channels = 64
    gc: Channels = 32
    nb: Annotated[int, Meta(ge=1, le=MAX_BLOCKS)] = 23
    nc: Channels = 32

    def __post_init__(self) -> None:
        try:
            self.config()
        except UsageError as error:
            raise ValueError(str(error)) from error

    def config(self) -> NetworkConfig:
        """The same values as the configuration of a network."""
        return NetworkConfig(**msgspec.structs.asdict(self))


class Recipe(Part, frozen=True):
    """A whole training run."""

    name: Text
    description: Text
    psnr: Stage | None = None
    """First stage; skipped if absent or of 0 steps."""
    conditional: Stage | None = None
    """Second stage; starts with the averaged weights of the first."""
    variant: Text = "custom"
    licence: Text = "unknown"
    """Licence of the trained weights, stored with them."""
    init: Text = ""
    """Initial checkpoint: of this network, of one with fewer blocks, or of an RRDB network without style layers. Empty:
    random weights."""
    init_t: Literal[0, 1] = 0
    """The t that an `init` without style layers is right for: those that are added have no effect there at first."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    ema: Share = 0.999
    """Decay of the averaged weights, those that are exported; 0: no averaging."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the arithmetic in training; weights stay float32. fp16 needs a GPU."""
    channels_last: bool = True
    compile: bool = False
    """Compile the blocks of the generator with torch.compile."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Log to Weights & Biases too. off: not. offline: in the folder of the run. online: send it to the service."""
    keep: Positive = 3
    """Number of saved states to keep."""
    save_every: Positive = 5000
    log_every: Positive = 100
    network: Network = Network()
    data: Data = Data()
    teachers: dict[str, Teacher] = msgspec.field(default_factory=dict)
    validation: Validation = Validation()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name) or len(self.name.encode()) > _MAX_NAME:
            raise ValueError(
                f"`name` is {foreign_name(self.name)!r}; it names files and a folder: a letter or digit first, then "
                f"letters, digits, dots, dashes and underscores, at most {_MAX_NAME} bytes"
            )
        if len(self.teachers) > MAX_ITEMS:
            raise ValueError(f"`teachers` holds {len(self.teachers)}; there may be {MAX_ITEMS}")
        if not self.stages:
            raise ValueError("neither `psnr` nor `conditional` has any steps; there is nothing to train")
        if self.data.patch % self.network.scale:
            raise ValueError(
                f"`data.patch` is {self.data.patch}; it must be a multiple of the scale, {self.network.scale}"
            )
        if self.data.degradation and (cached := [name for name in self.targets if self.teachers[name].cached]):
            raise ValueError(
                f"`data.degradation` degrades crops after teacher {cached[0]} has drawn the whole inputs; "
                f"use the `degradation` of `data.inputs`, or set `teachers.{cached[0]}.cached` to false"
            )
        for name, stage in self.stages.items():
            self._check_targets(name, stage)
            self._check_learns(name, stage)
            if stage.adversarial and (wanted := stage.discriminator.refusal(self.data.patch)):
                raise ValueError(
                    f"`data.patch` is {self.data.patch}; the {stage.discriminator.kind} discriminator takes {wanted}"
                )
            for term in stage.terms:
                if self.data.patch < term.least_patch:
                    raise ValueError(
                        f"`data.patch` is {self.data.patch}; {term.label} needs {term.least_patch} or more"
                    )

    def _check_learns(self, name: str, stage: Stage) -> None:
        """Check that there is a network to keep if styles alone learn; raises ValueError."""
        if stage.learns == "all":
            return
        if is_user_code(self.network.trunk):
            raise ValueError(f"`{name}.learns` is styles; a trunk of your own can't be held as it is: all")
        if not self.init and name == next(iter(self.stages)):
            raise ValueError(f"`{name}.learns` is styles, so the network stays as `init` gives it; set `init`")
        if stage.restart_style and self.init_t:
            raise ValueError(f"`{name}.restart_style` undoes what `{name}.learns` keeps at t = 1; leave it out")

    def _check_targets(self, name: str, stage: Stage) -> None:
        """Check that every input has a picture to compare with at the styles that it gets; raises ValueError."""
        for term in stage.terms:
            if term.kind == "lr":
                continue
            for target in term.ends:
                if target != "photo" and target not in self.teachers:
                    known = ", ".join(["photo", *self.teachers])
                    raise ValueError(f"{name}: {term.label} compares with {target!r}, which is none of {known}")
            for each in self.data.inputs:
                own = stage.between == "own"
                first = each.t[0] == 0 if own else each.t[0] < 1
                wanted = [end for end, used in zip(term.ends, (first, each.t[1] == 1), strict=True) if used]
                if term.kind == "adversarial" and stage.discriminator.sees == "weighed":
                    continue
                if each.native and "photo" in wanted:
                    raise ValueError(
                        f"{name}: {term.label} compares with the photo at a t that inputs {each.name} get, and they "
                        "have none, being native; name a teacher, or limit their `t`"
                    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The teachers that terms compare with, in the order of the recipe."""
        used = {end for stage in self.stages.values() for term in stage.terms if term.kind != "lr" for end in term.ends}
        return tuple(name for name in self.teachers if name in used)

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages that have steps, in order."""
        both = {"psnr": self.psnr, "conditional": self.conditional}
        return {name: stage for name, stage in both.items() if stage and stage.steps}

    def to_json(self) -> str:
        """The recipe with every default filled in, as it is stored with each checkpoint."""
        return json.dumps(msgspec.to_builtins(self))
