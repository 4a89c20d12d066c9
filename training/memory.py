"""A recipe's memory, estimated before any of it is taken, and one line for what no estimate foresees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fxsr.errors import OutOfMemoryError, first_line
from fxsr.extras import needs
from fxsr.models.config import NetworkConfig
from fxsr.runtime.machine.memory import available_memory
from fxsr.training.discriminator import build_discriminator
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Stage

with needs("train"):
    import torch

_COPIES = 5
"""Numbers that training keeps for each parameter of the generator: itself, its average, its gradient, Adam's two."""
_ADVICE = "give a smaller batch, data.patch or network; `fxsr train --plan` measures what a recipe takes"


def check_memory(recipe: Recipe, device: torch.device, processes: int = 1) -> None:
    """Refuse a recipe that can't fit into the free memory of a device.

    Raises:
        OutOfMemoryError: it surely can't.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    need = max(least_memory(recipe, stage, processes) for stage in recipe.stages.values())
    if free is not None and need > free:
        raise OutOfMemoryError(
            f"training needs at least {need / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free; {_ADVICE}"
        )


def least_memory(recipe: Recipe, stage: Stage, processes: int = 1) -> int:
    """Bytes that a process surely takes in a stage: parameters, what gradients need of the layers, and crops."""
    config, patch = recipe.network.config(), recipe.data.patch
    inputs = max(stage.batch // processes, 1) * (patch // config.scale) ** 2
    item = 4 if recipe.precision == "fp32" else 2
    crops = inputs * config.scale**2 * 3 * 4 * (1 + len(recipe.targets))
    return 4 * _COPIES * config.parameters + inputs * _kept_channels(config) * item + crops + _discriminator(stage)


def _kept_channels(config: NetworkConfig) -> int:
    """Channels that are kept for the gradient, per input pixel: inputs of convolutions and of activations."""
    nf, gc = config.nf, config.gc
    block = {"rrdb": 3 * (5 * nf + 14 * gc), "rb": 3 * nf}.get(config.trunk, 0)  # 0: code of a user
    tail: int = sum(2 * nf * 4**step for step in range(1, config.upsamplings + 1))
    return config.nb * block + tail + nf * config.scale**2


def _discriminator(stage: Stage) -> int:
    if not stage.adversarial:
        return 0
    with torch.device("meta"):
        network = build_discriminator(stage.discriminator)
    count: int = sum(parameter.numel() for parameter in network.parameters())
    return 4 * (_COPIES - 1) * count


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what torch and numpy raise for a lack of memory into one line.

    Raises:
        OutOfMemoryError: memory was lacking in the block.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(f"not enough memory for training; {_ADVICE}") from error
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "alloc" not in str(error).lower():
            raise
        raise OutOfMemoryError(f"not enough memory for training ({first_line(error)[:100]}); {_ADVICE}") from error
