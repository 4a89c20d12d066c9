"""Batches of training crops on the device. `fxsr.training.crops` decides what the crops are."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fxsr.extras import needs
from fxsr.training.crop_teacher import CropTeacher
from fxsr.training.crops import Crops, Sources
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Stage

with needs("train"):
    import torch
    from torch import Tensor
    from torch.utils.data import DataLoader, Sampler

    from fxsr.training.resident import ResidentPictures, fits


@dataclass(frozen=True)
class Batch:
    """Crops that one process trains on at once."""

    lr: Tensor
    """(N, 3, h, w), RGB in 0..1."""
    hr: Tensor
    """(N, 3, scale*h, scale*w), RGB in 0..1: photos; all zero for native inputs."""
    t_map: Tensor
    """(N, 1, h, w) in 0..1; (N, 1, 1, 1) if every crop has a single t."""
    teachers: Mapping[str, Tensor] = field(default_factory=dict)
    """Pictures of teachers by name, with the shape of `hr`."""
    bounds: tuple[tuple[float, float], ...] = ()
    """Least and largest t of each crop, on the host, so that reading them does not wait for the device."""
    taught: tuple[bool, ...] = ()
    """Whether `drawn` teachers draw each crop; otherwise the photo takes their place."""
    drawn: Mapping[str, CropTeacher] = field(default_factory=dict)
    """Teachers by name that draw crops when asked."""


class _Numbers(Sampler[list[int]]):
    """Numbers of the crops of each batch from step `first` to the end of a stage, for one of several processes."""

    def __init__(self, first: int, stage: Stage, rank: int, ranks: int) -> None:
        self._steps = range(first, stage.steps)
        self._crops, self._parts, self._rank, self._share = stage.crops, stage.accumulate, rank, stage.batch // ranks

    def __len__(self) -> int:
        return len(self._steps) * self._parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            for part in range(self._parts):
                begin = step * self._crops + (self._rank * self._parts + part) * self._share
                yield list(range(begin, begin + self._share))


def batches(
    recipe: Recipe,
    name: str,
    sources: Sources,
    first: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[Batch]:
    """The batches of a stage from step `first` to its end, `accumulate` for each step.

    Args:
        recipe: the recipe.
        name: name of the stage.
        sources: the pictures.
        first: number of the first step.
        device: device of the batches. A GPU cuts the crops itself if all pictures fit into its memory.
        rank, ranks: number of this process, and of the processes that share a batch; `ranks` divides the batch.
    """
    stage = recipe.stages[name]
    crops = Crops(recipe, name, sources)
    numbers = _Numbers(first, stage, rank, ranks)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format

    def picture(x: Tensor) -> Tensor:
        return x.to(device, non_blocking=True).float().div_(255).contiguous(memory_format=layout)

    if device.type == "cuda" and not recipe.data.degradation and fits(sources, device):
        resident = ResidentPictures(crops, sources, recipe.data.patch, recipe.network.scale, device)
        for each in numbers:
            lr, hr, t_map, bounds, taught, pictures = resident.cut(each)
            teachers = {name: picture(x) for name, x in pictures.items()}
            yield Batch(picture(lr), picture(hr), t_map, teachers, bounds, taught, sources.drawn)
        return
    loader = DataLoader(
        crops,
        batch_sampler=numbers,
        num_workers=recipe.data.workers,
        worker_init_fn=_leave_signals,
        pin_memory=device.type == "cuda",
        persistent_workers=False,
    )
    for lr, hr, t_map, bounds, taught, pictures in loader:
        teachers = {name: picture(x) for name, x in pictures.items()}
        limits = tuple((float(low), float(high)) for low, high in bounds)
        t_map = t_map.to(device, non_blocking=True)
        yield Batch(picture(lr), picture(hr), t_map, teachers, limits, tuple(taught.tolist()), sources.drawn)


def _leave_signals(number: int) -> None:
    """Ignore Ctrl-C in a worker: only the training process handles it, and it still needs its workers then."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
