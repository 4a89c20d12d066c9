"""Quality of an upscaler over t: fidelity, perceptual distance to the original, diversity.

An upscaler is any function that upscales: a generator in training or an engine. All measures are of 8-bit pictures.
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
from fxsr.training.resize import bicubic_upscale, reduce_uint8

STYLES = (0.0, 0.25, 0.5, 0.75, 1.0)
Upscale = Callable[[Pixels, float], Pixels]
"""Maps lr (H, W, 3) and t to sr (scale*H, scale*W, 3), uint8."""


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
    """None: bicubic upscaling, for comparison."""
    psnr: float
    """PSNR of luma in dB, without a border of `scale` pixels."""
    ssim: float
    """SSIM of luma, without the same border."""
    lr_psnr: float
    """PSNR of the result's bicubic reduction against lr, RGB, in dB."""
    shift: float
    """Colour shift: the largest absolute mean error of the three channels, in units of 1/255."""
    perceptual: float | None
    """Mean perceptual distance to the original; None: not measured."""


@dataclass(frozen=True)
class QualityReport:
    """What `evaluate` measured."""

    images: int
    scores: tuple[Scores, ...]
    """Scores of bicubic upscaling, then those of each t."""
    diversity: float | None
    """In percent; see `diversity_score`. None: not measured."""


def load_pairs(
    hr_folders: Sequence[Path],
    lr_folders: Sequence[Path],
    scale: int,
    limit: int | None,
    tell: Callable[[str], None],
) -> list[Pair]:
    """Load images and their reductions, cut to a multiple of `scale`. Unusable images are reported with `tell`.

    Args:
        hr_folders: folders that are searched recursively.
        lr_folders: one for each, with reductions under the same relative names; empty: MATLAB's bicubic.
        scale: HR size over LR size.
        limit: largest number of images, the first by name; None: all.
        tell: receives messages for the user.

    Raises:
        UsageError: a folder is missing or holds no images.
        ImageError: none of the images can be used.
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
    keep: Callable[[int, str, float, Pixels], None] = lambda number, name, t, sr: None,
) -> QualityReport:
    """Measure an upscaler.

    Args:
        upscale: the upscaler.
        pairs: images to measure on.
        scale: factor of the upscaler.
        styles: values of t.
        distance: perceptual distance; without it, this column and the diversity score are missing.
        diversity: values of t for the diversity score; fewer than two: not measured.
        advance: called after every image.
        keep: receives each result at each of `styles`: number and name of the image, t, and (H, W, 3).
    """
    rows: list[list[Scores]] = []
    diversities: list[float] = []
    for number, pair in enumerate(pairs):
        row = [_compare(None, bicubic_upscale(pair.lr, scale), pair, scale, distance)[0]]
        maps: dict[float, NDArray[np.float32]] = {}
        for t in dict.fromkeys((*styles, *(diversity if distance else ()))):
            sr = upscale(pair.lr, t)
            scores, error = _compare(t, sr, pair, scale, distance)
            if t in styles:
                row.append(scores)
                keep(number, pair.name, t, sr)
            if error is not None and t in diversity:
                maps[t] = error
        rows.append(row)
        if len(maps) > 1:
            diversities.append(diversity_score(list(maps.values())))
        advance()
    means = tuple(_mean(column) for column in zip(*rows, strict=True))
    return QualityReport(len(rows), means, float(np.mean(diversities)) if diversities else None)


def diversity_score(maps: Sequence[NDArray[np.float32]]) -> float:
    """How much the distance decreases if the best sample is chosen per pixel instead of per picture, in percent.

    100 * (best - mean of per-pixel bests) / best (NTIRE 2021, learning the super-resolution space; Lugmayr et al.).

    Args:
        maps: distance of each sample to the original at every pixel, (H, W) each.
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
    """`samples` evenly spaced values of t from 0 to 1; none if fewer than two."""
    return tuple(float(t) for t in np.linspace(0, 1, samples)) if samples > 1 else ()
