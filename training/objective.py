"""The conditional objective (paper, section 3.2): terms whose weights are functions of the style t.

Each weight is a piecewise-linear lambda(t) given by knots. It is evaluated at every pixel of the style map and brought
to the resolution of the term's error map, so that one formula serves uniform and varying styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fxsr.extras import needs
from fxsr.training.features import load_features
from fxsr.training.losses import FEATURE_LOSSES, PIXEL_LOSSES, Adversarial
from fxsr.training.recipe import Knot, Stage, Term

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from fxsr.training.features import Features


def weight_at(knots: Sequence[Knot], t: Tensor) -> Tensor:
    """lambda(t): straight lines between the knots, level beyond them.

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


class _Compared(nn.Module):
    """Terms that look at the same thing: pixels, or the features of one network, which are computed once for all."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = terms
        self.pixel = {term.label: PIXEL_LOSSES[term.kind] for term in terms if term.kind in PIXEL_LOSSES}
        self.feature = {term.label: FEATURE_LOSSES[term.kind](term) for term in terms if term.kind in FEATURE_LOSSES}
        self.displace = terms[0].displace
        self.features: Features | None = None
        if self.feature and terms[0].extractor:
            layers = sorted({layer for loss in self.feature.values() for layer in loss.layers})
            self.features = load_features(terms[0].extractor, terms[0].weights, layers)

    def forward(self, sr: Tensor, hr: Tensor, lr: Tensor, step: int) -> dict[str, list[Tensor]]:
        """Error maps by term."""
        found = {label: [loss(sr, hr, lr)] for label, loss in self.pixel.items()}
        if self.features:
            sr, hr = _displaced((sr, hr), self.displace, step)
            with torch.no_grad():
                wanted = self.features(hr)
            ours = self.features(sr)
            for label, loss in self.feature.items():
                found[label] = [loss(ours[layer].float(), wanted[layer].float(), layer) for layer in loss.layers]
        return found


class Objective(nn.Module):
    """The loss terms of a stage.

    Raises:
        UnavailableError: weights that a term needs can't be had here.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        groups: dict[tuple[str, str, int] | None, list[Term]] = {}
        for term in stage.terms:
            if term.kind != "adversarial":
                look = (term.extractor, term.weights, term.displace) if term.extractor else None
                groups.setdefault(look, []).append(term)
        self.groups = [_Compared(terms) for terms in groups.values()]
        self.members = nn.ModuleList(self.groups)  # so that `to(device)` reaches their weights
        self.opponent = next((term for term in stage.terms if term.kind == "adversarial"), None)

    def forward(
        self, sr: Tensor, hr: Tensor, lr: Tensor, t_map: Tensor, step: int, judge: nn.Module | None
    ) -> dict[str, Tensor]:
        """Every term's part of the loss, weighed: scalars by label, to be added.

        Crops for which none of the terms on some features weighs anything are left out of them, to spare the work.

        Args:
            sr, hr: (N, 3, scale*h, scale*w).
            lr: (N, 3, h, w).
            t_map: (N, 1, h, w).
            step: of the stage.
            judge: the discriminator, if there is an adversarial term.
        """
        parts = {}
        for group in self.groups:
            weights = {term.label: weight_at(term.knots, t_map) * fade_in(term, step) for term in group.terms}
            chosen = torch.stack([weight.flatten(1).amax(1) for weight in weights.values()]).amax(0) > 0
            share = chosen.float().mean()
            if not share:
                continue
            some = (x if share == 1 else x[chosen] for x in (sr, hr, lr))
            for label, maps in group(*some, step).items():
                if weights[label].any():
                    parts[label] = share * torch.stack([_weigh(each, weights[label][chosen]) for each in maps]).sum()
        if self.opponent and judge and fade_in(self.opponent, step):
            weight = weight_at(self.opponent.knots, t_map) * fade_in(self.opponent, step)
            with torch.no_grad():
                real = judge(hr).float()
            error = Adversarial(self.opponent.gan).generator(judge(sr).float(), real)
            parts[self.opponent.label] = _weigh(error, weight)
        return parts

    def judge_loss(self, sr: Tensor, hr: Tensor, judge: nn.Module) -> Tensor:
        """The discriminator's loss: on all crops, whatever their style (as published).

        Raises:
            ValueError: no term is adversarial.
        """
        if self.opponent is None:
            raise ValueError("this objective has no adversarial term")
        fake, real = judge(sr.detach()).float(), judge(hr).float()
        return Adversarial(self.opponent.gan).discriminator(fake, real)


def _displaced(pictures: tuple[Tensor, Tensor], most: int, step: int) -> tuple[Tensor, ...]:
    """The same part of both, `most` pixels smaller, from a random corner on that depends on `step` alone."""
    y, x = (int(each) for each in np.random.default_rng(step).integers(most + 1, size=2))
    height, width = (side - most for side in pictures[0].shape[2:])
    return tuple(picture[..., y : y + height, x : x + width] for picture in pictures)


def _weigh(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of error times weight, the weight averaged or repeated to the error's resolution."""
    return (error * F.interpolate(weight, error.shape[2:], mode="area")).mean()
