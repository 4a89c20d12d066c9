"""Measuring an upscaler over t: how faithful, how far from the original perceptually, how diverse.

Works on anything that upscales, a generator in training as well as an engine. All measures are of 8-bit pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ImageError
from fxsr.metrics import luma, psnr, ssim
from fxsr.training.cache import Pixels, find_pairs, load_pair
from fxsr.training.resize import enlarge_uint8, reduce_uint8

STYLES = (0.0, 0.25, 0.5, 0.75, 1.0)
Upscale = Callable[[Pixels, float], Pixels]
"""lr (H, W, 3) and t to sr (scale*H, scale*W, 3), uint8."""


class Distance(Protocol):
    """A perceptual distance; see `fxsr.training.perceptual`."""

    def __call__(self, sr: Pixels, hr: Pixels) -> NDArray[np.float32]:
        """(H, W): the distance at every pixel; its mean is that of the pictures."""
        ...


@dataclass(frozen=True)
class Pair:
    """An original and its reduction, (H, W, 3) uint8 each."""

    name: str
    hr: Pixels
    lr: Pixels


@dataclass(frozen=True)
class Scores:
    """Means over the images at one t."""

    t: float | None
    """None: bicubic enlargement, for comparison."""
    psnr: float
    """Of luma, in dB, `scale` pixels of border left out."""
    ssim: float
    """Of luma, likewise."""
    lr_psnr: float
    """Of the picture's own reduction against lr, RGB, in dB."""
    shift: float
    """Largest of the three channels' mean errors, in 1/255, absolute: colour shift."""
    perceptual: float | None
    """None: not measured."""


@dataclass(frozen=True)
class Report:
    """What `evaluate` measured."""

    images: int
    scores: tuple[Scores, ...]
    """Bicubic first, then by t."""
    diversity: float | None
    """In percent; see `diversity_score`. None: not measured."""


def load_pairs(
    hr_folders: Sequence[Path],
    lr_folders: Sequence[Path],
    scale: int,
    limit: int | None,
    tell: Callable[[str], None],
) -> list[Pair]:
    """Images with their reductions, cut to a multiple of `scale`; those that can't be read are named by `tell`.

    Args:
        hr_folders: searched through.
        lr_folders: one for each with reductions of the same relative names; empty: MATLAB's bicubic.
        scale: HR size over LR size.
        limit: take at most so many, the first by name.
        tell: takes lines for the user.

    Raises:
        UsageError: a folder is missing or holds no images.
        ImageError: none can be used.
    """
    pairs: list[Pair] = []
    for path, lr_path in list(find_pairs(hr_folders, lr_folders)):
        if len(pairs) == limit:
            break
        try:
            pairs.append(Pair(path.name, *load_pair(path, lr_path, scale, 8 * scale, "too small to be measured")))
        except ImageError as error:
            tell(f"left out: {error}")
    if not pairs:
        raise ImageError(f"none of the images in {', '.join(map(str, hr_folders))} can be used")
    return pairs


def evaluate(
    upscale: Upscale,
    pairs: Iterable[Pair],
    scale: int,
    styles: Sequence[float] = STYLES,
    distance: Distance | None = None,
    diversity: Sequence[float] = (),
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Measure an upscaler.

    Args:
        upscale: what to measure.
        pairs: images to measure on.
        scale: what it upscales by.
        styles: values of t.
        distance: perceptual distance; without one there is neither that column nor a diversity score.
        diversity: samples of t for the diversity score; fewer than two: not measured.
        advance: called after every image.
    """
    rows: list[list[Scores]] = []
    diversities: list[float] = []
    for pair in pairs:
        row = [_compare(None, enlarge_uint8(pair.lr, scale), pair, scale, distance)[0]]
        maps: dict[float, NDArray[np.float32]] = {}
        for t in dict.fromkeys((*styles, *(diversity if distance else ()))):
            scores, error = _compare(t, upscale(pair.lr, t), pair, scale, distance)
            if t in styles:
                row.append(scores)
            if error is not None and t in diversity:
                maps[t] = error
        rows.append(row)
        if len(maps) > 1:
            diversities.append(diversity_score(list(maps.values())))
        advance()
    means = tuple(_mean(column) for column in zip(*rows, strict=True))
    return Report(len(rows), means, float(np.mean(diversities)) if diversities else None)


def diversity_score(maps: Sequence[NDArray[np.float32]]) -> float:
    """How much would be won by choosing among samples pixel by pixel rather than picture by picture, in percent.

    100 * (best - mean of per-pixel bests) / best (NTIRE 2021, learning the super-resolution space; Lugmayr et al.).

    Args:
        maps: each sample's distance to the original at every pixel, all (H, W).
    """
    stack = np.stack(maps).astype(np.float64)
    best = stack.mean((1, 2)).min()
    return float(100 * (best - stack.min(0).mean()) / best) if best else 0.0


def _compare(
    t: float | None, sr: Pixels, pair: Pair, scale: int, distance: Distance | None
) -> tuple[Scores, NDArray[np.float32] | None]:
    inner = slice(scale, -scale), slice(scale, -scale)
    ours, original = luma(sr)[inner], luma(pair.hr)[inner]
    error = distance(sr, pair.hr) if distance else None
    shift = np.abs((sr.astype(np.float64) - pair.hr).mean((0, 1))).max()
    scores = Scores(
        t=t,
        psnr=psnr(ours, original, 255),
        ssim=ssim(ours, original, 255),
        lr_psnr=psnr(reduce_uint8(sr, scale), pair.lr, 255),
        shift=float(shift),
        perceptual=None if error is None else float(error.mean()),
    )
    return scores, error


def _mean(column: Sequence[Scores]) -> Scores:
    def mean(name: str) -> float:
        return float(np.mean([getattr(scores, name) for scores in column]))

    perceptual = mean("perceptual") if column[0].perceptual is not None else None
    return Scores(column[0].t, mean("psnr"), mean("ssim"), mean("lr_psnr"), mean("shift"), perceptual)


def spread(samples: int) -> tuple[float, ...]:
    """`samples` values of t, evenly from 0 to 1."""
    return tuple(float(t) for t in np.linspace(0, 1, samples)) if samples > 1 else ()
