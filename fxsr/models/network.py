"""The FxSR generator as a torch module: the reference that every exported graph is verified against.

Park, Moon, Cho: "Flexible Style Image Super-Resolution using Conditional Objective" (2022), figure 3. An RRDB trunk
(Wang et al., ESRGAN, 2018) whose dense blocks are modulated by spatial feature transforms (Wang et al., SFT-GAN, 2018).
Or, as in the paper's ablation, a trunk of plain residual blocks. For the parameters' names see
`fxsr.models.config.state_shapes`. Nothing here reads files; see `fxsr.models.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fxsr.extras import needs
from fxsr.models.config import COND_SLOPE, RESIDUAL_SCALE, SLOPE, NetworkConfig
from fxsr.models.user_trunk import build_user_trunk

with needs("export"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn


class SFT(nn.Module):
    """Spatial feature transform: x * (scale(cond) + 1) + shift(cond), where scale and shift are 1x1 convolutions."""

    def __init__(self, channels: int, nc: int) -> None:
        super().__init__()
        self.SFT_scale_conv0 = nn.Conv2d(nc, nc, 1)
        self.SFT_scale_conv1 = nn.Conv2d(nc, channels, 1)
        self.SFT_shift_conv0 = nn.Conv2d(nc, nc, 1)
        self.SFT_shift_conv1 = nn.Conv2d(nc, channels, 1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale: Tensor = self.SFT_scale_conv1(F.leaky_relu(self.SFT_scale_conv0(cond), COND_SLOPE))
        shift: Tensor = self.SFT_shift_conv1(F.leaky_relu(self.SFT_shift_conv0(cond), COND_SLOPE))
        return x * (scale + 1) + shift


class DenseBlock(nn.Module):
    """Residual dense block of five convolutions. conv1 sees sft0(x), the others x and the transformed features."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        nf, gc = config.nf, config.gc
        self.sft0 = SFT(nf, config.nc)
        self.sft1 = SFT(gc, config.nc)
        self.sft2 = SFT(gc, config.nc)
        self.sft3 = SFT(gc, config.nc)
        self.sft4 = SFT(gc, config.nc)
        self.conv1 = nn.Conv2d(nf, gc, 3, padding=1)
        self.conv2 = nn.Conv2d(nf + gc, gc, 3, padding=1)
        self.conv3 = nn.Conv2d(nf + 2 * gc, gc, 3, padding=1)
        self.conv4 = nn.Conv2d(nf + 3 * gc, gc, 3, padding=1)
        self.conv5 = nn.Conv2d(nf + 4 * gc, nf, 3, padding=1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        x1 = self.sft1(_lrelu(self.conv1(self.sft0(x, cond))), cond)
        x2 = self.sft2(_lrelu(self.conv2(torch.cat((x, x1), 1))), cond)
        x3 = self.sft3(_lrelu(self.conv3(torch.cat((x, x1, x2), 1))), cond)
        x4 = self.sft4(_lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1))), cond)
        x5: Tensor = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x5 * RESIDUAL_SCALE + x


class RRDB(nn.Module):
    """Residual in residual: three dense blocks."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.RDB1 = DenseBlock(config)
        self.RDB2 = DenseBlock(config)
        self.RDB3 = DenseBlock(config)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        out: Tensor = self.RDB3(self.RDB2(self.RDB1(x, cond), cond), cond)
        return out * RESIDUAL_SCALE + x


class ResidualBlock(nn.Module):
    """Plain residual block of two modulated convolutions, as in SFT-GAN."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        nf = config.nf
        self.sft0 = SFT(nf, config.nc)
        self.conv0 = nn.Conv2d(nf, nf, 3, padding=1)
        self.sft1 = SFT(nf, config.nc)
        self.conv1 = nn.Conv2d(nf, nf, 3, padding=1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        out: Tensor = self.conv1(self.sft1(F.relu(self.conv0(self.sft0(x, cond))), cond))
        return x + out


class Trunk(nn.ModuleList):
    """The blocks of a trunk in order."""

    def __init__(self, config: NetworkConfig) -> None:
        block = {"rrdb": RRDB, "rb": ResidualBlock}[config.trunk]
        super().__init__(block(config) for _ in range(config.nb))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        for block in self:
            x = block(x, cond)
        return x


class Generator(nn.Module):
    """The generator: `Generator(config)(lr, t_map) -> sr`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        nf = config.nf
        self.config = config
        self.conv_first = nn.Conv2d(3, nf, 3, padding=1)
        self.add_module(config.trunk_name, build_user_trunk(config) if config.user_code else Trunk(config))
        self.trunk_conv = nn.Conv2d(nf, nf, 3, padding=1)
        for step in range(1, config.upsamplings + 1):
            self.add_module(f"upconv{step}", nn.Conv2d(nf, nf, 3, padding=1))
        self.HRconv = nn.Conv2d(nf, nf, 3, padding=1)
        self.conv_last = nn.Conv2d(nf, 3, 3, padding=1)
        self.CondNet = nn.Sequential(nn.Conv2d(1, 1, 1), nn.LeakyReLU(COND_SLOPE), nn.Conv2d(1, config.nc, 1))

    def forward(self, lr: Tensor, t_map: Tensor) -> Tensor:
        """Upscale a batch.

        Args:
            lr: (N, 3, H, W), RGB in 0..1.
            t_map: (N or 1, 1, H or 1, W or 1), style in 0..1. 1x1 means one t for all pixels.

        Returns:
            (N, 3, scale*H, scale*W), nominally 0..1, not clamped.
        """
        cond = self.CondNet(t_map)
        first = self.conv_first(lr)
        x = first + self.trunk_conv(self.get_submodule(self.config.trunk_name)(first, cond))
        for step in range(1, self.config.upsamplings + 1):
            x = _lrelu(self.get_submodule(f"upconv{step}")(F.interpolate(x, scale_factor=2, mode="nearest")))
        x = _lrelu(self.HRconv(x))
        # always in the weights' own precision: bfloat16's steps near white are as large as those of 8 bits
        with torch.autocast(x.device.type, enabled=False):
            sr: Tensor = self.conv_last(x.to(self.conv_last.weight.dtype))
        return sr


def build_generator(config: NetworkConfig, weights: Mapping[str, np.ndarray]) -> Generator:
    """A generator in evaluation mode with these weights (see `fxsr.models.checkpoint.Checkpoint`)."""
    with torch.device("cpu" if config.user_code else "meta"):  # a user's code may need values
        generator = Generator(config)
    tensors = {key: torch.from_numpy(np.array(value, np.float32)) for key, value in weights.items()}
    generator.load_state_dict(tensors, strict=True, assign=True)
    return generator.eval()


def compile_blocks(generator: Generator) -> None:
    """Let torch compile the repeated blocks of a generator when they are first used.

    Only the blocks' inputs and weights differ, so the compiler works on one of them, however many there are. Compiling
    the whole network takes minutes at 23 blocks, for little more than this (PyTorch's "regional compilation").
    """
    config = generator.config
    if config.user_code:
        generator.get_submodule(config.trunk_name).compile()
    for block in generator.modules():
        if isinstance(block, DenseBlock | ResidualBlock) and not config.user_code:
            block.compile()


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)
