"""The conditional objective (paper, section 3.2): terms whose weights are functions of the style t.

Each weight is a piecewise-linear lambda(t) given by knots. It is evaluated at every pixel of the style map and brought
to the resolution of the term's error map, so that one formula serves uniform and varying styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fxsr.extras import needs
from fxsr.training.data import Batch
from fxsr.training.features import load_features
from fxsr.training.losses import FEATURE_LOSSES, Adversarial
from fxsr.training.recipe_stage import Knot, Stage, Term
from fxsr.training.targets import Targets
from fxsr.training.transfer import crop_index
from fxsr.training.user_terms import pixel_loss

with needs("train"):
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from torch import Tensor, nn

    from fxsr.training.features import Features


def weight_at(knots: Sequence[Knot], t: Tensor) -> Tensor:
    """lambda(t): piecewise linear between the knots, constant beyond them.

    Args:
        knots: (t, weight), t ascending.
        t: of any shape.
    """
    weight = torch.full_like(t, knots[0][1])
    for (left, low), (right, high) in pairwise(knots):
        weight = weight + (t.clamp(left, right) - left) * ((high - low) / (right - left))
    return weight


def fade_in(term: Term, step: int) -> float:
    """Share of a term's weight that counts at a step of its stage: 0 before `start`, then growing over `ramp` steps."""
    if step < term.start:
        return 0.0
    return min(1.0, (step - term.start + 1) / term.ramp) if term.ramp else 1.0


class _TermGroup(nn.Module):
    """Terms that compare the same thing: pixels, or the features of one network, which are computed once for all."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = terms
        self.ends = terms[0].ends
        self.pixel = {term.label: pixel_loss(term) for term in terms if not term.extractor}
        self.feature = {term.label: FEATURE_LOSSES[term.kind](term) for term in terms if term.kind in FEATURE_LOSSES}
        self.members = nn.ModuleList(loss for loss in self.feature.values() if isinstance(loss, nn.Module))
        self.displace = terms[0].displace
        self.features: Features | None = None
        if self.feature and terms[0].extractor:
            layers = sorted({layer for loss in self.feature.values() for layer in loss.layers})
            self.features = load_features(terms[0].extractor, terms[0].weights, layers)

    def forward(self, sr: Tensor, target: Tensor, lr: Tensor, step: int) -> dict[str, list[Tensor]]:
        """Error maps by term."""
        found = {label: [loss(sr, target, lr)] for label, loss in self.pixel.items()}
        if self.features:
            sr, target = _displace((sr, target), self.displace, step)
            with torch.no_grad():
                wanted = self.features(target)
            ours = self.features(sr)
            for label, loss in self.feature.items():
                found[label] = [loss(ours[layer].float(), wanted[layer].float(), layer) for layer in loss.layers]
        return found


class Objective(nn.Module):
    """The loss terms of a stage.

    Raises:
        UnavailableError: weights that a term needs are not available.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        groups: dict[tuple[object, ...], list[Term]] = {}
        for term in stage.terms:
            if term.kind != "adversarial":
                look = (term.extractor, term.weights, term.displace) if term.extractor else ()
                groups.setdefault((*look, term.ends), []).append(term)
        self.groups = [_TermGroup(terms) for terms in groups.values()]
        self.members = nn.ModuleList(self.groups)  # so that `to(device)` reaches their weights
        self.adversarial = next((term for term in stage.terms if term.kind == "adversarial"), None)
        self.sees_all = stage.discriminator.sees == "all"

    def forward(
        self, sr: Tensor, batch: Batch, step: int, discriminator: nn.Module | None, targets: Targets | None = None
    ) -> dict[str, Tensor]:
        """Every term's weighted contribution to the loss: scalars by label, to be added.

        Features are not computed for crops at whose t no term on these features has weight. `batch.bounds` tells
        which crops those are, so nothing here waits for the device.

        Args:
            sr: (N, 3, scale*h, scale*w).
            batch: the inputs of `sr`, and what it is compared with.
            step: number of the step in its stage.
            discriminator: needed only if there is an adversarial term.
            targets: the pictures to compare with; None: those of the batch.
        """
        targets = targets or Targets(batch)
        parts = {}
        for group in self.groups:
            numbers = [n for n in range(len(sr)) if any(_reaches(term, batch, n, step) for term in group.terms)]
            if not numbers:
                continue
            share = len(numbers) / len(sr)
            some, t_map = _select((sr, targets(group.ends), batch.lr, batch.t_map), numbers)
            errors = group(*some, step)
            for term in group.terms:
                if any(_reaches(term, batch, number, step) for number in numbers):
                    weight = weight_at(term.knots, t_map) * fade_in(term, step)
                    parts[term.label] = share * torch.stack([_weigh(each, weight) for each in errors[term.label]]).sum()
        numbers = self.seen_crops(batch, step)
        if self.adversarial and discriminator and numbers and fade_in(self.adversarial, step):
            share = len(numbers) / len(sr)
            (fake, real, _), t_map = _select((sr, targets(self.adversarial.ends), batch.lr, batch.t_map), numbers)
            weight = weight_at(self.adversarial.knots, t_map) * fade_in(self.adversarial, step)
            loss = Adversarial(self.adversarial.gan)
            with torch.no_grad():
                verdict = discriminator(real).float() if loss.compares else None
            error = loss.generator(discriminator(fake).float(), verdict)
            parts[self.adversarial.label] = share * _weigh(error, weight)
        return parts

    def seen_crops(self, batch: Batch, step: int) -> list[int]:
        """Numbers of the crops that the discriminator sees: all (as published), or those where its term has weight."""
        term = self.adversarial
        count = range(len(batch.lr))
        if term is None or self.sees_all:
            return list(count)
        return [number for number in count if _weighs(term, batch, number)]

    def discriminator_loss(
        self, sr: Tensor, batch: Batch, step: int, discriminator: nn.Module, targets: Targets | None = None
    ) -> Tensor | None:
        """The loss of the discriminator on the crops of `seen_crops`.

        Returns:
            A scalar; None if the batch has no such crop.

        Raises:
            ValueError: no term is adversarial.
        """
        if self.adversarial is None:
            raise ValueError("this objective has no adversarial term")
        numbers = self.seen_crops(batch, step)
        if not numbers:  # other processes may have some: all must take the step together
            together = dist.is_available() and dist.is_initialized()
            return discriminator(sr[:1].detach()).float().sum() * 0 if together else None
        targets = targets or Targets(batch)
        (ours, wanted, _), _ = _select((sr.detach(), targets(self.adversarial.ends), batch.lr, batch.t_map), numbers)
        fake, real = discriminator(ours).float(), discriminator(wanted).float()
        return Adversarial(self.adversarial.gan).discriminator(fake, real)


def _weighs(term: Term, batch: Batch, number: int) -> bool:
    """Whether a term has weight anywhere in a crop: at its least or largest t, or at a knot in between."""
    if not batch.bounds:
        return True
    low, high = batch.bounds[number]
    at = [low, high, *(t for t, _ in term.knots if low < t < high)]
    places, values = zip(*term.knots, strict=True)
    return bool(np.interp(at, places, values).max() > 0)


def _reaches(term: Term, batch: Batch, number: int, step: int) -> bool:
    return fade_in(term, step) > 0 and _weighs(term, batch, number)


def _select(
    tensors: tuple[Tensor, Tensor, Tensor, Tensor], numbers: Sequence[int]
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """The crops with these numbers, of sr, target and lr, and their style maps."""
    if len(numbers) < len(tensors[0]):
        index = crop_index(numbers, tensors[0].device)
        sr, target, lr, t_map = (x.index_select(0, index) for x in tensors)
    else:
        sr, target, lr, t_map = tensors
    return (sr, target, lr), t_map


def _displace(pictures: tuple[Tensor, Tensor], most: int, step: int) -> tuple[Tensor, ...]:
    """Cut the same part from both, `most` pixels smaller; its random position depends on `step` alone."""
    y, x = (int(each) for each in np.random.default_rng(step).integers(most + 1, size=2))
    height, width = (side - most for side in pictures[0].shape[2:])
    return tuple(picture[..., y : y + height, x : x + width] for picture in pictures)


def _weigh(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of error times weight; the weight is averaged or repeated to the resolution of the error."""
    return (error * F.interpolate(weight, error.shape[2:], mode="area")).mean()
