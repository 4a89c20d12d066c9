"""The perceptual distance of pictures: LPIPS without learned weights, or as published.

VGG-16 features after ReLU of five layers, scaled to unit length at each position; squared differences are summed over
the channels, averaged over the positions, and added over the layers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.extras import needs
from fxsr.training.cache import Pixels
from fxsr.training.features import load_features
from fxsr.training.losses import lpips_linear
from fxsr.training.vgg_layers import PERCEPTUAL_LAYERS

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor

    from fxsr.training.features import unit_length


PUBLISHED = "lpips"


class PerceptualDistance:
    """Distance of two uint8 pictures at every pixel.

    Args:
        weights: VGG-16 weights, see `fxsr.training.features.load_features`; or "lpips": LPIPS in its published form,
            version 0.1, with torchvision's weights and the linear weights of the package lpips.

    Raises:
        UnavailableError: the weights are not available.
    """

    def __init__(self, weights: str) -> None:
        self._device = torch.device("cpu")
        self._linear = lpips_linear("") if weights == PUBLISHED else None
        source = "torchvision" if weights == PUBLISHED else weights
        self._features = load_features("vgg16", source, PERCEPTUAL_LAYERS)
        self._original: tuple[Pixels, dict[str, Tensor]] | None = None

    def __call__(self, sr: Pixels, hr: Pixels) -> NDArray[np.float32]:
        if self._original is None or self._original[0] is not hr:  # one original is compared with many pictures
            self._original = hr, self._directions(hr)
        total = np.zeros(sr.shape[:2], np.float32)
        for layer, ours in self._directions(sr).items():
            error = (ours - self._original[1][layer]).square()
            if self._linear:
                error = F.conv2d(error, self._linear[layer].to(error.device))
            else:
                error = error.sum(1, keepdim=True)
            total += F.interpolate(error, sr.shape[:2], mode="bilinear", align_corners=False)[0, 0].cpu().numpy()
        return total

    def to(self, device: torch.device) -> None:
        """Compute on this device from now on."""
        self._device = device
        self._features.to(device)
        self._original = None

    def _directions(self, pixels: Pixels) -> dict[str, Tensor]:
        with torch.inference_mode():
            x = torch.tensor(pixels, device=self._device).permute(2, 0, 1)[None].float() / 255
            return {layer: unit_length(features) for layer, features in self._features(x).items()}
