"""VGG as a torch module that yields the features one asks for. See `fxsr.training.features` for its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fxsr.extras import needs
from fxsr.training.features import CHANNELS, IMAGENET_MEAN, IMAGENET_STD, Kind, conv_names

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn


class Features(nn.Module):
    """Frozen VGG convolutions. `Features(...)(x)` maps (N, 3, H, W) RGB in 0..1 to a dict of features by layer."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        kind: Kind,
        weights: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
        layers: Sequence[str],
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        order = conv_names(kind)
        deepest = max(order.index(layer.replace("relu", "conv")) for layer in layers)
        self.convs = nn.ModuleDict()
        cin = 3
        for name in order[: deepest + 1]:
            cout = CHANNELS[int(name[4]) - 1]
            conv = nn.Conv2d(cin, cout, 3, padding=1)
            kernel, bias = weights[name]
            conv.load_state_dict({"weight": torch.tensor(kernel), "bias": torch.tensor(bias)})
            self.convs[name] = conv
            cin = cout
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = (x - self.mean) / self.std
        found = {}
        for name, conv in self.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = conv(x)
            if name in self.layers:
                found[name] = x
            x = F.relu(x)
            relu = name.replace("conv", "relu")
            if relu in self.layers:
                found[relu] = x
        return found


def unit_length(features: Tensor) -> Tensor:
    """(N, C, H, W) with every position's vector divided by its length (LPIPS, Zhang et al. 2018, section 3)."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
