"""The hyperparameters of a generator and the parameters they imply. Needs neither torch nor weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from fxsr.errors import CheckpointError, UsageError, foreign_name
from fxsr.models.esrgan_names import is_esrgan
from fxsr.user_code import is_user_code

SCALES = (2, 4, 8)
MAX_CHANNELS, MAX_BLOCKS = 4096, 200
"""Limits of a configuration, which may come from a file that somebody edited: the published network has 64 and 23."""
RESIDUAL_SCALE = 0.2
"""Factor of every residual branch of an RRDB. Plain residual blocks have no such factor."""
SLOPE = 0.2
"""Negative slope of LeakyReLU in the dense blocks and in the tail."""
COND_SLOPE = 0.1
"""Negative slope of LeakyReLU in the condition branch and in the SFT layers."""
USER_TRUNK = "user_trunk"
"""Prefix of the parameter names of trunks that are code of a user."""
_BLOCK = re.compile(r"(?:RRDB|RB)_trunk\.(\d+)\.")

Trunk: TypeAlias = Literal["rrdb", "rb"]
Shape = tuple[int, ...]
_Parameters: TypeAlias = Iterator[tuple[str, Shape]]


@dataclass(frozen=True)
class NetworkConfig:
    """One member of the generator's family. The defaults are the published x4 model.

    Raises:
        UsageError: a value is out of range.
    """

    scale: int = 4
    """Upscaling factor: 2, 4 or 8."""
    trunk: str = "rrdb"
    """Blocks of the trunk: "rrdb", residual in residual dense blocks, or "rb", plain residual blocks. For experiments:
    "python:module.function", see `fxsr.models.user_trunk`; such networks can be trained and measured, not exported.

    The paper's ablation with 16 residual blocks is `NetworkConfig(trunk="rb", nb=16, gc=0)`.
    """
    nf: int = 64
    """Feature channels of the trunk."""
    gc: int = 32
    """Growth: channels that each layer of a dense block adds. 0 for residual blocks, which have no growth."""
    nb: int = 23
    """Blocks in the trunk."""
    nc: int = 32
    """Condition width: channels of the condition branch and of every SFT layer's hidden layer."""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UsageError(f"scale is {self.scale}; it must be one of 2, 4, 8")
        if not self.user_code and self.trunk not in get_args(Trunk):
            known = f"{', '.join(get_args(Trunk))}, or python:MODULE.FUNCTION"
            raise UsageError(f"trunk is {foreign_name(self.trunk)!r}; it must be one of {known}")
        dense = self.trunk == "rrdb"
        if self.trunk == "rb" and self.gc:
            raise UsageError(f"gc is {self.gc}; it must be 0 with trunk rb, which has no dense blocks")
        if self.user_code and not 0 <= self.gc <= MAX_CHANNELS:
            raise UsageError(f"gc is {self.gc}; it must be from 0 to {MAX_CHANNELS}")
        for name in ("nf", "gc", "nb", "nc") if dense else ("nf", "nb", "nc"):
            value, most = getattr(self, name), MAX_BLOCKS if name == "nb" else MAX_CHANNELS
            if not 1 <= value <= most:
                raise UsageError(f"{name} is {value}; it must be from 1 to {most}")

    @property
    def user_code(self) -> bool:
        """Whether the trunk is code of a user."""
        return is_user_code(self.trunk)

    @property
    def trunk_name(self) -> str:
        """Prefix of the trunk's parameter names."""
        return USER_TRUNK if self.user_code else f"{self.trunk.upper()}_trunk"

    @property
    def upsamplings(self) -> int:
        """Number of times that the tail doubles the size."""
        return int(math.log2(self.scale))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in state_shapes(self).values())


def state_shapes(config: NetworkConfig) -> dict[str, Shape]:
    """Name and shape of every parameter, in the network's order. Runs the code of a trunk that is a user's.

    The names are those of the published checkpoints (golden/state_dict_keys.json). No checkpoint with trunk "rb" is
    published: its names, `RB_trunk.0.sft0`, `conv0`, `sft1`, `conv1` and so on, are ours and follow SFT-GAN.
    """
    return dict(_parameters(config))


def is_style(key: str) -> bool:
    """Whether a parameter belongs to the condition branch or a style layer."""
    return "CondNet." in key or ".SFT_" in key


def is_last_bias(key: str) -> bool:
    """Whether a parameter is what a style layer adds last to its scale or its shift."""
    return key.endswith((".SFT_scale_conv1.bias", ".SFT_shift_conv1.bias"))


def sft_layers(config: NetworkConfig) -> list[str]:
    """Names of the SFT layers, in the network's order."""
    last = ".SFT_scale_conv0.weight"
    return [key.removesuffix(last) for key in state_shapes(config) if key.endswith(last)]


def _parameters(config: NetworkConfig) -> _Parameters:
    nf, nc = config.nf, config.nc
    yield from _conv("conv_first", 3, nf)
    if config.user_code:
        from fxsr.models.user_trunk import user_trunk_shapes

        yield from ((f"{config.trunk_name}.{key}", shape) for key, shape in user_trunk_shapes(config))
    else:
        block = {"rrdb": _rrdb, "rb": _residual_block}[config.trunk]
        for index in range(config.nb):
            yield from block(f"{config.trunk_name}.{index}", config)
    yield from _conv("trunk_conv", nf, nf)
    for step in range(1, config.upsamplings + 1):
        yield from _conv(f"upconv{step}", nf, nf)
    yield from _conv("HRconv", nf, nf)
    yield from _conv("conv_last", nf, 3)
    yield from _conv("CondNet.0", 1, 1, 1)
    yield from _conv("CondNet.2", 1, nc, 1)


def _rrdb(name: str, config: NetworkConfig) -> _Parameters:
    nf, gc = config.nf, config.gc
    for dense in (1, 2, 3):
        for layer in range(5):
            yield from _sft(f"{name}.RDB{dense}.sft{layer}", gc if layer else nf, config.nc)
        for layer in range(1, 6):
            yield from _conv(f"{name}.RDB{dense}.conv{layer}", nf + (layer - 1) * gc, gc if layer < 5 else nf)


def _residual_block(name: str, config: NetworkConfig) -> _Parameters:
    for layer in (0, 1):
        yield from _sft(f"{name}.sft{layer}", config.nf, config.nc)
        yield from _conv(f"{name}.conv{layer}", config.nf, config.nf)


def _sft(name: str, channels: int, nc: int) -> _Parameters:
    for branch in ("scale", "shift"):
        yield from _conv(f"{name}.SFT_{branch}_conv0", nc, nc, 1)
        yield from _conv(f"{name}.SFT_{branch}_conv1", nc, channels, 1)


def _conv(name: str, cin: int, cout: int, kernel: int = 3) -> _Parameters:
    yield f"{name}.weight", (cout, cin, kernel, kernel)
    yield f"{name}.bias", (cout,)


def infer_config(shapes: Mapping[str, Shape]) -> NetworkConfig:
    """The config that a state dict with these parameter shapes belongs to.

    Raises:
        CheckpointError: these are not the parameters of an FxSR generator; the message says which are missing, extra or
            of a wrong shape.
    """
    trunk: Trunk = "rb" if any(key.startswith("RB_trunk.") for key in shapes) else "rrdb"
    try:
        config = NetworkConfig(
            trunk=trunk,
            scale=2 ** sum(f"upconv{step}.weight" in shapes for step in (1, 2, 3)),
            nf=shapes["conv_first.weight"][0],
            gc=shapes["RRDB_trunk.0.RDB1.conv1.weight"][0] if trunk == "rrdb" else 0,
            nb=1 + max(int(m[1]) for m in map(_BLOCK.match, shapes) if m),
            nc=shapes["CondNet.2.weight"][0],
        )
        if config.nb > len(shapes):  # a block number is wrong: each block has several parameters
            raise ValueError
    except (KeyError, IndexError, ValueError, UsageError):
        config = NetworkConfig()  # key parameters are missing: compare with the published model
    check_shapes(config, shapes)
    return config


def check_shapes(config: NetworkConfig, shapes: Mapping[str, Shape]) -> None:
    """Compare the shapes of parameters with those that `config` needs.

    Raises:
        CheckpointError: they differ.
    """
    wanted = state_shapes(config)
    missing = [key for key in wanted if key not in shapes]
    extra = [key for key in shapes if key not in wanted]
    wrong = [
        f"{key} is {list(shapes[key])}, not {list(shape)}"
        for key, shape in wanted.items()
        if key in shapes and tuple(shapes[key]) != shape
    ]
    if not (missing or extra or wrong):
        return
    if is_esrgan(shapes) and not any("sft" in key for key in shapes):
        raise CheckpointError(
            "this is an ESRGAN generator: it has no style layers (sft, CondNet), so there is no t to control; "
            "training adds them: fxsr train fxsr-photo-x4 --set init=FILE --set teachers.crisp.source=FILE"
        )
    faults = [_some("missing", missing), _some("extra", extra), _some("of a wrong shape", wrong)]
    raise CheckpointError("these are not the parameters of an FxSR generator: " + "; ".join(filter(None, faults)))


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}: {', '.join(map(foreign_name, names[:3]))}{more}"
