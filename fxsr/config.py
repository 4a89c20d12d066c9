"""The hyperparameters of a generator and the parameters they imply. Needs neither torch nor weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fxsr.errors import CheckpointError, UsageError

SCALES = (2, 4, 8)
RESIDUAL_SCALE = 0.2
"""Factor of every residual branch."""
SLOPE = 0.2
"""Negative slope of the trunk's and the tail's LeakyReLU."""
COND_SLOPE = 0.1
"""Negative slope of LeakyReLU in the condition branch and in the SFT layers."""
_BLOCK = re.compile(r"RRDB_trunk\.(\d+)\.")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class NetworkConfig:
    """One member of the generator's family. The defaults are the published x4 model.

    Raises:
        UsageError: a value is out of range.
    """

    scale: int = 4
    """Upscaling factor: 2, 4 or 8."""
    nf: int = 64
    """Feature channels of the trunk."""
    gc: int = 32
    """Growth: channels that each layer of a dense block adds."""
    nb: int = 23
    """Blocks (RRDB) in the trunk."""
    nc: int = 32
    """Condition width: channels of the condition branch and of every SFT layer's hidden layer."""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UsageError(f"scale is {self.scale}; it must be one of 2, 4, 8")
        for name in ("nf", "gc", "nb", "nc"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    @property
    def upsamplings(self) -> int:
        """How many times the tail doubles the size."""
        return int(math.log2(self.scale))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in state_shapes(self).values())


def state_shapes(config: NetworkConfig) -> dict[str, Shape]:
    """Name and shape of every parameter, as in the published checkpoints (golden/state_dict_keys.json)."""
    return dict(_parameters(config))


def _parameters(config: NetworkConfig) -> Iterator[tuple[str, Shape]]:
    nf, gc, nc = config.nf, config.gc, config.nc

    def conv(name: str, cin: int, cout: int, kernel: int = 3) -> Iterator[tuple[str, Shape]]:
        yield f"{name}.weight", (cout, cin, kernel, kernel)
        yield f"{name}.bias", (cout,)

    yield from conv("conv_first", 3, nf)
    for block in range(config.nb):
        for dense in (1, 2, 3):
            prefix = f"RRDB_trunk.{block}.RDB{dense}"
            for layer in range(5):
                for branch in ("scale", "shift"):
                    sft = f"{prefix}.sft{layer}.SFT_{branch}"
                    yield from conv(f"{sft}_conv0", nc, nc, 1)
                    yield from conv(f"{sft}_conv1", nc, gc if layer else nf, 1)
            for layer in range(1, 6):
                yield from conv(f"{prefix}.conv{layer}", nf + (layer - 1) * gc, gc if layer < 5 else nf)
    yield from conv("trunk_conv", nf, nf)
    for step in range(1, config.upsamplings + 1):
        yield from conv(f"upconv{step}", nf, nf)
    yield from conv("HRconv", nf, nf)
    yield from conv("conv_last", nf, 3)
    yield from conv("CondNet.0", 1, 1, 1)
    yield from conv("CondNet.2", 1, nc, 1)


def infer_config(shapes: Mapping[str, Shape]) -> NetworkConfig:
    """The config that a state dict with these parameter shapes belongs to.

    Raises:
        CheckpointError: these are not the parameters of an FxSR generator; says which are missing,
            extra or of a wrong shape.
    """
    try:
        config = NetworkConfig(
            scale=2 ** sum(f"upconv{step}.weight" in shapes for step in (1, 2, 3)),
            nf=shapes["conv_first.weight"][0],
            gc=shapes["RRDB_trunk.0.RDB1.conv1.weight"][0],
            nb=1 + max(int(m[1]) for m in map(_BLOCK.match, shapes) if m),
            nc=shapes["CondNet.2.weight"][0],
        )
    except (KeyError, IndexError, ValueError, UsageError):
        config = NetworkConfig()  # not even the landmarks are there: compare with the published model
    check_shapes(config, shapes)
    return config


def check_shapes(config: NetworkConfig, shapes: Mapping[str, Shape]) -> None:
    """Compare the parameters at hand with those that `config` needs.

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
    plain = (
        "RRDB_trunk.0.RDB1.conv1.weight" in shapes or "body.0.rdb1.conv1.weight" in shapes or "model.0.weight" in shapes
    )
    if plain and not any("sft" in key for key in shapes):
        raise CheckpointError(
            "this is an ESRGAN generator: it has no style layers (sft, CondNet), so there is no t to control"
        )
    faults = [_some("missing", missing), _some("extra", extra), _some("of a wrong shape", wrong)]
    raise CheckpointError("these are not the parameters of an FxSR generator: " + "; ".join(filter(None, faults)))


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what}: {', '.join(names[:3])}{more}"
