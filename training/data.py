"""Training crops. Each is a function of seed, stage and its running number alone, so that neither the number of workers
nor of processes nor a restart changes what is trained on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fxsr.extras import needs
from fxsr.training.cache import ImageCache
from fxsr.training.degrade import degrade
from fxsr.training.recipe import STAGES, Recipe
from fxsr.training.styles import draw_style

with needs("train"):
    import torch
    from torch import Tensor
    from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True)
class Batch:
    """Crops of one step on one process."""

    lr: Tensor
    """(N, 3, h, w), RGB in 0..1."""
    hr: Tensor
    """(N, 3, scale*h, scale*w), RGB in 0..1."""
    t_map: Tensor
    """(N, 1, h, w) in 0..1."""


class Crops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The endless list of a stage's crops, as (3, ...) uint8 lr and hr, and (1, h, w) float32 t_map."""

    def __init__(self, recipe: Recipe, stage: str, cache: ImageCache) -> None:
        self._cache = cache
        self._data = recipe.data
        self._scale = recipe.network.scale
        self._style = recipe.stages[stage].style
        self._batch = recipe.stages[stage].batch
        self._seed = (recipe.seed, STAGES.index(stage))

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([*self._seed, 0, number])
        batch_rng = np.random.default_rng([*self._seed, 1, number // self._batch])
        hr, lr = self._cache.pair(int(rng.integers(len(self._cache))))
        side = self._data.patch // self._scale
        y, x = (int(rng.integers(size - side + 1)) for size in lr.shape[:2])
        lr = lr[y : y + side, x : x + side]
        hr = hr[y * self._scale :, x * self._scale :][: self._data.patch, : self._data.patch]
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        if self._data.rotations:
            hr, lr = np.rot90(hr, turns), np.rot90(lr, turns)
        if self._data.flips and flip:
            hr, lr = hr[:, ::-1], lr[:, ::-1]
        if self._data.degradation:
            lr = degrade(np.ascontiguousarray(hr), self._scale, self._data.degradation, rng)
        t_map = draw_style(self._style, batch_rng, rng, side)
        return _channels_first(lr), _channels_first(hr), torch.from_numpy(t_map)


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
    recipe: Recipe, stage: str, cache: ImageCache, first: int, device: torch.device, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    """The batches of a stage from step `first` to its end.

    Args:
        recipe, stage: decide what the crops are.
        cache: the images.
        first: step to begin with.
        device: where the batches go.
        rank, ranks: this process among those that share a batch; `ranks` divides it.
    """
    plan = recipe.stages[stage]
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    loader = DataLoader(
        Crops(recipe, stage, cache),
        batch_sampler=_Numbers(first, plan.steps, plan.batch, rank, ranks),
        num_workers=recipe.data.workers,
        worker_init_fn=_leave_signals,
        pin_memory=device.type == "cuda",
        persistent_workers=False,
    )

    def picture(x: Tensor) -> Tensor:
        return x.to(device, non_blocking=True).float().div_(255).contiguous(memory_format=layout)

    for lr, hr, t_map in loader:
        yield Batch(picture(lr), picture(hr), t_map.to(device, non_blocking=True))


def _leave_signals(number: int) -> None:
    """A terminal's Ctrl-C goes to all processes: it is for the training process, which then needs its workers."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())  # torch takes no negative strides
