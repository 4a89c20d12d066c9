"""ESRGAN's generator, an RRDB network without style layers, used for teachers. FxSR's is in `fxsr.models.network`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, first_line
from fxsr.extras import needs
from fxsr.models.config import RESIDUAL_SCALE, SLOPE
from fxsr.models.esrgan_names import first_release_names

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

_BLOCK = re.compile(r"RRDB_trunk\.(\d+)\.")


class _Dense(nn.Module):
    """Residual dense block."""

    def __init__(self, nf: int, gc: int) -> None:
        super().__init__()
        self.nf, self.gc = nf, gc
        for number in range(1, 6):
            self.add_module(f"conv{number}", nn.Conv2d(nf + (number - 1) * gc, gc if number < 5 else nf, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for number in range(1, 5):
            found = torch.cat((found, F.leaky_relu_(self.get_submodule(f"conv{number}")(found), SLOPE)), 1)
        last: Tensor = self.get_submodule("conv5")(found)
        return torch.add(x, last, alpha=RESIDUAL_SCALE)


class _Block(nn.Module):
    def __init__(self, nf: int, gc: int) -> None:
        super().__init__()
        for number in (1, 2, 3):
            self.add_module(f"RDB{number}", _Dense(nf, gc))

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for dense in self.children():
            found = dense(found)
        return torch.add(x, found, alpha=RESIDUAL_SCALE)


class RRDBNet(nn.Module):
    """The x4 network: (N, 3, H, W) RGB in 0..1 to (N, 3, 4*H, 4*W), not clamped."""

    def __init__(self, nf: int, gc: int, nb: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, nf, 3, padding=1)
        self.RRDB_trunk = nn.ModuleList(_Block(nf, gc) for _ in range(nb))
        self.trunk_conv = nn.Conv2d(nf, nf, 3, padding=1)
        self.upconv1 = nn.Conv2d(nf, nf, 3, padding=1)
        self.upconv2 = nn.Conv2d(nf, nf, 3, padding=1)
        self.HRconv = nn.Conv2d(nf, nf, 3, padding=1)
        self.conv_last = nn.Conv2d(nf, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        first = self.conv_first(lr)
        x = first
        for block in self.RRDB_trunk:
            x = block(x)
        x = first + self.trunk_conv(x)
        for conv in (self.upconv1, self.upconv2):
            x = F.leaky_relu_(conv(F.interpolate(x, scale_factor=2, mode="nearest")), SLOPE)
        x = F.leaky_relu_(self.HRconv(x), SLOPE)
        with torch.autocast(x.device.type, enabled=False):  # as in FxSR's network: bfloat16 is coarser than 8 bits
            sr: Tensor = self.conv_last(x.to(self.conv_last.weight.dtype))
        return sr


def build_rrdb(weights: Mapping[str, NDArray[np.float32]], name: str) -> RRDBNet:
    """Build the network with these weights, under any of ESRGAN's names, in evaluation mode.

    Raises:
        CheckpointError: the weights are not those of an x4 RRDB network.
    """
    weights = first_release_names(weights)
    try:
        nf, gc = (weights[key].shape[0] for key in ("conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight"))
        nb = 1 + max(int(match[1]) for match in map(_BLOCK.match, weights) if match)
        with torch.device("meta"):
            network = RRDBNet(nf, gc, nb)
        network.load_state_dict({key: torch.tensor(value) for key, value in weights.items()}, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{name}: not the weights of an x4 RRDB network ({first_line(error)})") from error
    return network.eval().requires_grad_(False)
