"""The terms of the objective as error maps, (N, 1, h, w) each, so that their weight can differ per pixel.

A map has the resolution of its term: that of sr for pixel terms, of the layer for perceptual terms, of the verdicts for
adversarial terms. `fxsr.training.objective` weighs and averages the maps.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from fxsr.errors import CheckpointError, UnavailableError
from fxsr.extras import needs
from fxsr.images.bicubic import resampling
from fxsr.training import recipe_stage
from fxsr.training.features import read_arrays
from fxsr.training.transfer import to_device
from fxsr.training.vgg_layers import PERCEPTUAL_LAYERS

with needs("train"):
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from torch import Tensor, nn

    from fxsr.training.features import unit_length

_CHARBONNIER_EPSILON = 1e-3
"""Epsilon for pixel values in 0..1 (LapSRN, Lai et al. 2017, section 3.2)."""
_GRID = 4
"""Side, in LR pixels, of the area for averaging errors: small enough to follow a surface, and large enough for texture
to cancel out."""
_DETAIL = 5
"""Side of the area, in pixels, whose mean is subtracted to leave detail. Odd."""
_SILENCE = 1e-5
"""Mean square of detail of less than a level of 255, below which differences count little."""
_AROUND = 7
"""Side of the surroundings of a peak, in frequencies."""
_LPIPS_NAMES = tuple(f"lin{number}.model.1.weight" for number in range(len(PERCEPTUAL_LAYERS)))


PixelLoss: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
"""Maps sr and hr (N, 3, scale*H, scale*W) and lr (N, 3, H, W) to an error map (N, 1, h, w)."""


def l1(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Mean absolute error over the channels."""
    return (sr - hr).abs().mean(1, keepdim=True)


def l2(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Mean squared error over the channels."""
    return (sr - hr).square().mean(1, keepdim=True)


def charbonnier(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """sqrt(error^2 + epsilon^2), mean over the channels: L1 with a rounded tip."""
    return ((sr - hr).square() + _CHARBONNIER_EPSILON**2).sqrt().mean(1, keepdim=True)


def lr_consistency(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Mean absolute error of sr's bicubic reduction against lr."""
    return (reduce(sr, sr.shape[2] // lr.shape[2]) - lr).abs().mean(1, keepdim=True)


def grid(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """The part of the error that repeats from one LR pixel to the next: a regular grain that networks tend to produce.

    Errors at the same position within their LR pixel, averaged over 4x4 LR pixels, minus the mean over all positions.
    """
    scale = sr.shape[2] // lr.shape[2]
    places = F.pixel_unshuffle(sr - hr, scale)
    means = F.avg_pool2d(places, min(_GRID, *lr.shape[2:]))
    means = means.reshape(len(sr), 3, scale**2, *means.shape[2:])
    pattern: Tensor = means - means.mean(2, keepdim=True)
    return pattern.abs().mean((1, 2))[:, None]


def weave(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Excess power of sr at single frequencies compared to hr, in squared nepers, mean over frequencies; (N, 1, 1, 1).

    Texture that consists of a single frequency looks like a weave. It shows as a peak in the ratio of the two local
    power spectra; the peak is measured above the mean of the surrounding frequencies.
    """
    ratio = _power(sr).log() - _power(hr).log()
    around = F.avg_pool2d(F.pad(ratio[:, None], [_AROUND // 2] * 4, mode="circular"), _AROUND, stride=1)
    return F.relu(ratio[:, None] - around).square().mean((2, 3), keepdim=True)


def contrast(sr: Tensor, hr: Tensor, lr: Tensor) -> Tensor:
    """Difference in strength of detail: of its root mean square over 12x12 pixels, one every 4 pixels.

    Wherever detail can't be predicted, L1 makes it too weak; this does not ask where it is. Our own.
    """
    first, second = (
        (F.avg_pool2d(detail(x).square().mean(1, keepdim=True), recipe_stage.WINDOWS["contrast"], 4) + _SILENCE).sqrt()
        for x in (sr, hr)
    )
    return (first - second).abs()


def detail(x: Tensor) -> Tensor:
    """(N, C, H, W) minus its means over 5x5 pixels."""
    return x - F.avg_pool2d(F.pad(x, [_DETAIL // 2] * 4, mode="reflect"), _DETAIL, 1)


def reduce(x: Tensor, scale: int) -> Tensor:
    """MATLAB's bicubic reduction of (N, C, H, W), differentiable; see `fxsr.training.resize`."""
    rows, columns = (to_device(torch.tensor(resampling(size, size // scale)), x.device) for size in x.shape[2:])
    with torch.autocast(x.device.type, enabled=False):
        return rows @ x.float() @ columns.T


def _power(x: Tensor) -> Tensor:
    """Power spectra (N, 32, 32) of (N, 3, H, W) over windows that overlap by half, plus the noise of 8-bit rounding."""
    side = recipe_stage.WINDOWS["weave"]
    window = torch.hann_window(side, periodic=False, device=x.device)
    taper = window[:, None] * window
    places = x.float().unfold(2, side, side // 2).unfold(3, side, side // 2)
    waves = torch.fft.fft2((places - places.mean((4, 5), keepdim=True)) * taper)
    power: Tensor = waves.abs().square().mean((1, 2, 3))
    return power + taper.square().sum() / 255**2 / 12


class FeatureLoss(Protocol):
    """A term that compares features."""

    @property
    def layers(self) -> Sequence[str]:
        """The layers to compare."""
        ...

    def __call__(self, ours: Tensor, wanted: Tensor, layer: str) -> Tensor:
        """Error map (N, 1, h, w) of the features (N, C, h, w) of a layer."""
        ...


class Perceptual:
    """Distance of features, mean over the channels; with `normalise`, their sum, as LPIPS takes it."""

    def __init__(self, term: recipe_stage.Term) -> None:
        self.layers = term.layers
        self._squared = term.distance == "l2"
        self._normalise = term.normalise
        self._relative = term.relative

    def __call__(self, ours: Tensor, wanted: Tensor, layer: str) -> Tensor:
        if self._normalise:
            ours, wanted = unit_length(ours), unit_length(wanted)
        difference = ours - wanted
        error = difference.square() if self._squared else difference.abs()
        if self._relative:
            error = error / (wanted.square() if self._squared else wanted.abs()).mean()
        return error.sum(1, keepdim=True) if self._normalise else error.mean(1, keepdim=True)


class LPIPS(nn.Module):
    """LPIPS of version 0.1 on VGG-16 (Zhang et al. 2018): squared differences weighed by learned linear layers.

    Raises:
        UnavailableError: the linear weights are not installed.
        CheckpointError: the file does not contain them.
    """

    def __init__(self, term: recipe_stage.Term) -> None:
        super().__init__()
        self.layers = PERCEPTUAL_LAYERS
        for layer, weights in lpips_linear(term.linear).items():
            self.register_buffer(layer, weights)

    def forward(self, ours: Tensor, wanted: Tensor, layer: str) -> Tensor:
        difference = (unit_length(ours) - unit_length(wanted)).square()
        return F.conv2d(difference, self.get_buffer(layer))


class Adversarial:
    """The losses of the generator and the discriminator.

    "vanilla": Goodfellow et al. 2014, the generator's non-saturating form. "ragan": relativistic average,
    Jolicoeur-Martineau 2018, as ESRGAN has it. "hinge": Lim and Ye 2017.
    """

    def __init__(self, gan: str) -> None:
        self.gan = gan

    @property
    def compares(self) -> bool:
        """Whether the generator's loss depends on the verdicts on real pictures."""
        return self.gan == "ragan"

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Error map of the generator from logits (N, 1, h, w).

        Raises:
            ValueError: the loss needs verdicts on real pictures, and `real` is None.
        """
        if self.gan == "hinge":
            return -fake
        if self.gan == "vanilla":
            return F.softplus(-fake)
        if real is None:
            raise ValueError("ragan compares with the verdicts on real pictures; there are none")
        return (F.softplus(real - _mean(fake)) + F.softplus(_mean(real) - fake)) / 2

    def discriminator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Loss of the discriminator, a scalar."""
        if self.gan == "hinge":
            return (F.relu(1 + fake).mean() + F.relu(1 - real).mean()) / 2
        if self.gan == "vanilla":
            return (F.softplus(fake).mean() + F.softplus(-real).mean()) / 2
        return (F.softplus(_mean(fake) - real).mean() + F.softplus(fake - _mean(real)).mean()) / 2


PIXEL_LOSSES: dict[str, PixelLoss] = {
    "l1": l1,
    "l2": l2,
    "charbonnier": charbonnier,
    "lr": lr_consistency,
    "grid": grid,
    "contrast": contrast,
    "weave": weave,
}
FEATURE_LOSSES: dict[str, Callable[[recipe_stage.Term], FeatureLoss]] = {"perceptual": Perceptual, "lpips": LPIPS}


def lpips_linear(path: str) -> dict[str, Tensor]:
    """The linear weights of LPIPS by layer, (1, C, 1, 1) each, from a file; "": from the package lpips.

    Raises:
        UnavailableError: the weights are not installed.
        CheckpointError: the file does not contain them.
    """
    if not path:
        spec = importlib.util.find_spec("lpips")
        if spec is None or not spec.submodule_search_locations:
            raise UnavailableError(
                "the linear weights of LPIPS are not installed; type: pip install --no-deps lpips, "
                "or name a file as `linear`"
            )
        path = str(Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / "vgg.pth")
    linear = read_arrays(Path(path), "LPIPS weights")
    if set(linear) != set(_LPIPS_NAMES):
        raise CheckpointError(f"{path}: not the linear weights of LPIPS on VGG-16")
    return {layer: torch.tensor(linear[name]) for layer, name in zip(PERCEPTUAL_LAYERS, _LPIPS_NAMES, strict=True)}


def _mean(logits: Tensor) -> Tensor:
    """Mean over the batch of all processes, so that the gradient does not depend on their number."""
    mean = logits.mean()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        from torch.distributed.nn.functional import all_reduce

        mean = all_reduce(mean) / dist.get_world_size()  # type: ignore[no-untyped-call]
    return mean
