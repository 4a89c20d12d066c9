"""Batches of training crops, on the device. See `fxsr.training.crops` for what the crops are."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fxsr.extras import needs
from fxsr.training.crops import Crops, Sources
from fxsr.training.recipe import Recipe

with needs("train"):
    import torch
    from torch import Tensor
    from torch.utils.data import DataLoader, Sampler

    from fxsr.training.resident import Resident, fits


@dataclass(frozen=True)
class Batch:
    """Crops of one step on one process."""

    lr: Tensor
    """(N, 3, h, w), RGB in 0..1."""
    hr: Tensor
    """(N, 3, scale*h, scale*w), RGB in 0..1: photos; nothing is in those of native inputs."""
    t_map: Tensor
    """(N, 1, h, w) in 0..1; (N, 1, 1, 1) if every crop has one t."""
    teachers: Mapping[str, Tensor] = field(default_factory=dict)
    """Teachers' pictures by name, of the photos' shape."""
    bounds: tuple[tuple[float, float], ...] = ()
    """Least and largest t of each crop, known without asking the device."""


class _Numbers(Sampler[list[int]]):
    """Numbers of the crops of each step, from `first` to `last` (exclusive), for one process of several."""

    def __init__(self, first: int, last: int, batch: int, rank: int, ranks: int) -> None:
        self._steps = range(first, last)
        self._batch, self._rank, self._share = batch, rank, batch // ranks

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            begin = step * self._batch + self._rank * self._share
            yield list(range(begin, begin + self._share))


def batches(
    recipe: Recipe,
    stage: str,
    sources: Sources,
    first: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[Batch]:
    """The batches of a stage from step `first` to its end.

    Args:
        recipe, stage: decide what the crops are.
        sources: the pictures.
        first: step to begin with.
        device: where the batches go. On a GPU they are cut there, if all pictures fit into its memory.
        rank, ranks: this process among those that share a batch; `ranks` divides it.
    """
    plan = recipe.stages[stage]
    crops = Crops(recipe, stage, sources)
    numbers = _Numbers(first, plan.steps, plan.batch, rank, ranks)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format

    def picture(x: Tensor) -> Tensor:
        return x.to(device, non_blocking=True).float().div_(255).contiguous(memory_format=layout)

    if device.type == "cuda" and not recipe.data.degradation and fits(sources, device):
        resident = Resident(crops, sources, recipe.data.patch, recipe.network.scale, device)
        for each in numbers:
            lr, hr, t_map, bounds, pictures = resident.cut(each)
            teachers = {name: picture(x) for name, x in pictures.items()}
            yield Batch(picture(lr), picture(hr), t_map, teachers, bounds)
        return
    loader = DataLoader(
        crops,
        batch_sampler=numbers,
        num_workers=recipe.data.workers,
        worker_init_fn=_leave_signals,
        pin_memory=device.type == "cuda",
        persistent_workers=False,
    )
    for lr, hr, t_map, bounds, pictures in loader:
        teachers = {name: picture(x) for name, x in pictures.items()}
        limits = tuple((float(low), float(high)) for low, high in bounds)
        yield Batch(picture(lr), picture(hr), t_map.to(device, non_blocking=True), teachers, limits)


def _leave_signals(number: int) -> None:
    """A terminal's Ctrl-C goes to all processes: it is for the training process, which then needs its workers."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
