"""Discriminators for adversarial terms: networks that map RGB in 0..1 to logits, larger for real pictures."""

from __future__ import annotations

from itertools import pairwise

from fxsr.extras import needs
from fxsr.training import recipe_stage
from fxsr.training.losses import detail

with needs("train"):
    import torch.nn.functional as F
    from torch import Tensor, nn
    from torch.nn.utils.parametrizations import spectral_norm

_SLOPE = 0.2
_DETAIL_GAIN = 20.0
"""Factor that brings detail of some levels of 255 to the order of 1."""
_GAIN = 2.0
"""Factor after each spectrally normalised layer of the U-Net. It was added because the signals behind these layers
looked small; whether it improves training has not been measured."""


class VGG128(nn.Module):
    """(N, 3, 128, 128) to (N, 1, 1, 1): SRGAN's discriminator (Ledig et al. 2017) as ESRGAN has it."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        widths = (nf, 2 * nf, 4 * nf, 8 * nf, 8 * nf)
        layers: list[nn.Module] = [nn.Conv2d(3, nf, 3, padding=1), nn.LeakyReLU(_SLOPE), *_halve(nf)]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(_SLOPE)]
            layers += _halve(wide)
        self.body = nn.Sequential(*layers)
        self.verdict = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * nf * 4 * 4, 100),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(100, 1),
            nn.Unflatten(1, (1, 1, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.verdict(self.body(x))
        return logits


class Patch(nn.Module):
    """(N, 3, H, W) to (N, 1, H/8, W/8): spectrally normalised, without batch statistics, so small batches work."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, nf, 3, padding=1)]
        for narrow, wide in pairwise((nf, nf, 2 * nf, 4 * nf)):
            layers += [nn.LeakyReLU(_SLOPE), spectral_norm(nn.Conv2d(narrow, wide, 4, 2, 1))]
        layers += [nn.LeakyReLU(_SLOPE), spectral_norm(nn.Conv2d(4 * nf, 4 * nf, 3, padding=1)), nn.LeakyReLU(_SLOPE)]
        self.body = nn.Sequential(*layers, nn.Conv2d(4 * nf, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x * 2 - 1)
        return logits


class UNet(nn.Module):
    """(N, 3, H, W) to (N, 1, H, W), H and W multiples of 8: a verdict for every pixel that depends on its surroundings.

    Real-ESRGAN's (Wang et al. 2021, section 3.4): spectrally normalised, without batch statistics, with skip
    connections that add the features of the encoder to those of the decoder.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        widths = (nf, 2 * nf, 4 * nf, 8 * nf)
        self.first = nn.Conv2d(3, nf, 3, padding=1)
        self.down = nn.ModuleList(_spectral(narrow, wide, 4, 2) for narrow, wide in pairwise(widths))
        self.up = nn.ModuleList(_spectral(wide, narrow, 3, 1) for narrow, wide in reversed(list(pairwise(widths))))
        self.refine = nn.ModuleList(_spectral(nf, nf, 3, 1) for _ in range(2))
        self.last = nn.Conv2d(nf, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x * 2 - 1), _SLOPE)
        passed = []
        for conv in self.down:
            passed.append(x)
            x = F.leaky_relu(conv(x), _SLOPE) * _GAIN
        for conv in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = F.leaky_relu(conv(x), _SLOPE) * _GAIN + passed.pop()
        for conv in self.refine:
            x = F.leaky_relu(conv(x), _SLOPE) * _GAIN
        logits: Tensor = self.last(x)
        return logits


class Detail(nn.Module):
    """(N, 3, H, W) to (N, 1, H/4, W/4), H and W multiples of 4: a verdict on fine detail alone.

    It sees the picture without its local means, many times stronger, and has no normalisation. Where a generator
    learns from a teacher, both pictures agree but for detail of some levels of 255, which the others here need
    thousands of steps to see: on native photos the spectrally normalised U-Net was at chance after 3000 steps, and this
    one tells the pictures apart after 120.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        narrow = 3
        for wide, stride in ((nf, 1), (nf, 2), (2 * nf, 1), (2 * nf, 2), (4 * nf, 1)):
            layers += [nn.Conv2d(narrow, wide, 3 if stride == 1 else 4, stride, 1), nn.LeakyReLU(_SLOPE)]
            narrow = wide
        self.body = nn.Sequential(*layers, nn.Conv2d(narrow, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(detail(x) * _DETAIL_GAIN)
        return logits


def build_discriminator(settings: recipe_stage.Discriminator) -> nn.Module:
    """Build the discriminator that a recipe names, with fresh weights."""
    return {"vgg128": VGG128, "patch": Patch, "unet": UNet, "detail": Detail}[settings.kind](settings.nf)


def _spectral(cin: int, cout: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(cin, cout, kernel, stride, padding=1, bias=False))


def _halve(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(_SLOPE)]
