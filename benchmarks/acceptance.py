"""The acceptance figures of bundled models, on the photos of `python -m fxsr.benchmarks photos`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from fxsr.benchmarks.judges import Judge
from fxsr.errors import UsageError
from fxsr.metrics import luma, psnr
from fxsr.training.cache import Pixels, find_images, read_rgb
from fxsr.training.evaluate import STYLES, Upscale
from fxsr.training.native import measure_native
from fxsr.training.resize import bicubic_upscale, reduce_uint8

NOISE, QUALITY = 4, 60
"""Degradation of worn photos: standard deviation of the noise in levels of 255, then the quality of JPEG."""
_FLATS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)),
    *((255, 128, 0), (128, 0, 255), (20, 20, 20), (235, 235, 235), (128, 128, 128), (0, 80, 160)),
)
_FLAT_SIDE = 32
"""Side of a flat patch, in input pixels."""


@dataclass(frozen=True)
class Figure:
    """One measured figure and its limit."""

    name: str
    value: float
    limit: float | None = None
    """None: the figure is for information only."""
    at_most: bool = True
    """True: the limit is the largest accepted value. False: the smallest."""

    @property
    def accepted(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def photo_figures(
    upscale: Upscale,
    scale: int,
    folder: Path,
    judges: Mapping[str, Judge],
    teacher: Callable[[Pixels], Pixels] | None = None,
    limit: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """Measure a model for native, noisy and compressed photos.

    Args:
        upscale, scale: the model.
        folder: folder that the command `photos` filled.
        judges: perceptual distances by name; see `fxsr.benchmarks.judges`.
        teacher: network to compare t = 1 with; None: no comparison.
        limit: largest number of photos of each set; None: all.
        tell: receives progress messages.

    Raises:
        UsageError: the folder lacks a set.
    """
    tell("native photos")
    native = [read_rgb(path) for path in _photos(folder, "native", limit)]
    figures = []
    bicubic, *scores = measure_native(upscale, native, scale, STYLES)
    figures.append(Figure("native: grid of bicubic", bicubic.grid))
    figures += [Figure(f"native: grid at t = {each.t:g}", each.grid, 0.18) for each in scores if each.t is not None]
    figures += _spread([each.change for each in scores], "native: ", None)
    figures += _flats(upscale, 2, STYLES)
    rows: dict[str, list[float]] = {}
    paths = _photos(folder, "bsd-like", limit) + _photos(folder, "set5-like", limit)
    for number, path in enumerate(paths, 1):
        tell(f"worn photos: {number} of {len(paths)}")
        hr = _cut_to_scale(read_rgb(path), scale)
        lr = worn(hr, scale, number)
        faithful, crisp = upscale(lr, 0.0), upscale(lr, 1.0)
        rows.setdefault("gain", []).append(_psnr(faithful, hr, scale) - _psnr(bicubic_upscale(lr, scale), hr, scale))
        shown = teacher(lr) if teacher else None
        for name, judge in judges.items():
            rows.setdefault(name, []).append(judge(crisp, hr))
            if shown is not None:
                rows.setdefault(f"{name} of the teacher", []).append(judge(shown, hr))
    means = {name: float(np.mean(values)) for name, values in rows.items()}
    figures.append(Figure(f"worn: PSNR-Y over bicubic at t = 0, dB ({len(paths)} photos)", means["gain"], 0.4, False))
    for name in judges:
        compared = means.get(f"{name} of the teacher")
        limit_ = None if compared is None else 1.15 * compared
        figures.append(Figure(f"worn: {name} at t = 1", means[name], limit_))
    return figures


def pd_figures(
    upscale: Upscale,
    scale: int,
    folder: Path,
    judges: Mapping[str, Judge],
    limit: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """Measure a model in the setting of the paper, bicubic input; arguments as for `photo_figures`."""
    figures = []
    styles = (0.0, 0.5, 1.0)
    for name, least in (("set5-like", 2.75), ("bsd-like", 1.25)):
        rows: dict[str, list[float]] = {}
        paths = _photos(folder, name, limit)
        for number, path in enumerate(paths, 1):
            tell(f"{name}: {number} of {len(paths)}")
            hr = _cut_to_scale(read_rgb(path), scale)
            lr = reduce_uint8(hr, scale)
            pictures = [upscale(lr, t) for t in styles]
            base = _psnr(bicubic_upscale(lr, scale), hr, scale)
            for t, picture in zip(styles, pictures, strict=True):
                rows.setdefault(f"gain {t:g}", []).append(_psnr(picture, hr, scale) - base)
            rows.setdefault("lr", []).append(psnr(reduce_uint8(pictures[0], scale), lr, 255))
            for number_, (a, b) in enumerate(pairwise(pictures)):
                rows.setdefault(f"change {number_}", []).append(float(np.abs(a.astype(np.int16) - b).mean()))
            for judge in judges:
                for t, picture in ((0, pictures[0]), (1, pictures[-1])):
                    rows.setdefault(f"{judge} {t}", []).append(judges[judge](picture, hr))
        means = {key: float(np.mean(values)) for key, values in rows.items()}
        count = f" ({len(paths)} photos)"
        figures.append(Figure(f"{name}: PSNR-Y over bicubic at t = 0, dB{count}", means["gain 0"], least, False))
        figures.append(Figure(f"{name}: PSNR-Y lost at t = 1, dB", means["gain 0"] - means["gain 1"], 1.2))
        figures.append(Figure(f"{name}: LR-PSNR at t = 0, dB", means["lr"], 46, False))
        figures += _spread([None, means["change 0"], means["change 1"]], f"{name}: ", 1.5)
        for judge, most in zip(judges, (0.50, 0.70), strict=False):
            share = means[f"{judge} 1"] / means[f"{judge} 0"]
            figures.append(Figure(f"{name}: {judge} at t = 1, as a share of t = 0's", share, most))
    return [*figures, *_flats(upscale, 4, (0.0,))]


def worn(hr: Pixels, scale: int, number: int) -> Pixels:
    """Reduce a photo and add noise and JPEG artefacts. The result depends on the photo and the number alone."""
    lr = reduce_uint8(hr, scale)
    noise = np.random.default_rng(number).normal(0, NOISE, lr.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(lr + noise + 0.5, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


def _spread(changes: Sequence[float | None], prefix: str, most: float | None) -> list[Figure]:
    """Ratio of the largest to the smallest change per step of t."""
    found = [change for change in changes if change is not None]
    return [Figure(f"{prefix}largest change per step of t over the smallest", max(found) / max(min(found), 1e-9), most)]


def _flats(upscale: Upscale, most: float, styles: Sequence[float]) -> list[Figure]:
    figures = []
    for t in styles:
        worst = 0
        for colour in _FLATS:
            patch = np.full((_FLAT_SIDE, _FLAT_SIDE, 3), colour, np.uint8)
            difference = upscale(patch, t).astype(np.int16) - np.array(colour)
            worst = max(worst, int(np.abs(difference).max()))
        figures.append(Figure(f"flat colours at t = {t:g}: largest deviation, levels of 255", worst, most))
    return figures


def _photos(folder: Path, name: str, limit: int | None) -> list[Path]:
    if not (folder / name).is_dir():
        raise UsageError(f"{folder} has no set {name}; make it with: python -m fxsr.benchmarks photos {folder}")
    return find_images(folder / name)[:limit]


def _cut_to_scale(hr: Pixels, scale: int) -> Pixels:
    height, width = (size // scale * scale for size in hr.shape[:2])
    return hr[:height, :width]


def _psnr(sr: Pixels, hr: Pixels, scale: int) -> float:
    inner = slice(scale, -scale), slice(scale, -scale)
    return psnr(luma(sr)[inner], luma(hr)[inner], 255)
