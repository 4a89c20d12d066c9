"""The choice of training crops, and cutting them on the CPU. `fxsr.training.data` makes batches of them.

Each crop is a function of the seed, the stage and its running number alone. The numbers of workers and processes and
restarts do not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.training.cache import ImageCache, Pixels
from fxsr.training.crop_teacher import CropTeacher
from fxsr.training.degrade import degrade
from fxsr.training.recipe import STAGES, Recipe
from fxsr.training.samples import inputs_of
from fxsr.training.styles import draw_style
from fxsr.training.teachers import TeacherPictures

with needs("train"):
    import torch
    from torch import Tensor
    from torch.utils.data import Dataset


@dataclass(frozen=True)
class CropChoice:
    """The picture that one crop is cut from, and how it is cut."""

    index: int
    """Number of the image in the cache."""
    y: int
    """First row in the input. `x` is the first column."""
    x: int
    turns: int
    """Number of quarter turns."""
    flip: bool
    t_map: NDArray[np.float32]
    """(1, h, w) or (1, 1, 1)."""
    taught: bool
    """Whether teachers have pictures of it; otherwise the photo takes their place."""
    rng: np.random.Generator = field(repr=False)
    """Generator for all further random values of this crop."""


@dataclass(frozen=True)
class Sources:
    """All pictures that crops are cut from."""

    cache: ImageCache
    teachers: Mapping[str, TeacherPictures] = field(default_factory=dict)
    drawn: Mapping[str, CropTeacher] = field(default_factory=dict)
    """Teachers whose pictures are not cached."""


_Item = tuple[Tensor, Tensor, Tensor, Tensor, bool, dict[str, Tensor]]


class Crops(Dataset[_Item]):
    """The endless list of crops of a stage: (3, ...) uint8 lr and hr, float32 t_map, its bounds, whether teachers have
    pictures of it, and those that are cached."""

    def __init__(self, recipe: Recipe, name: str, sources: Sources) -> None:
        stage = recipe.stages[name]
        self._teachers = sources.teachers  # not all sources: workers that are not forked can't be given networks
        self._cache = sources.cache
        self._data = recipe.data
        self._kinds = inputs_of(recipe.data)
        self._scale = recipe.network.scale
        self._style = stage.style
        self._batch = stage.crops
        self._seed = (recipe.seed, STAGES.index(name))
        shares = np.array([kind.share for kind in self._kinds])
        self._limits = np.cumsum(shares / shares.sum())
        of_kind = [entry.kind for entry in self._cache.entries]
        self._members = [np.flatnonzero(np.array(of_kind) == number) for number in range(len(self._kinds))]
        empty = [kind.name for kind, members in zip(self._kinds, self._members, strict=True) if not len(members)]
        if empty and self._data.weights:
            raise UsageError(
                f"none of the images in {empty[0]} can be used, but `data.weights` gives it a share of crops"
            )

    def choose(self, number: int) -> CropChoice:
        """Choose the crop with this number."""
        rng = np.random.default_rng([*self._seed, 0, number])
        batch_rng = np.random.default_rng([*self._seed, 1, number // self._batch])
        kind = self._kinds[0]
        if self._data.inputs or self._data.weights:
            place = min(int(np.searchsorted(self._limits, rng.random(), "right")), len(self._kinds) - 1)
            kind, members = self._kinds[place], self._members[place]
            index = int(members[rng.integers(len(members))])
        else:
            index = int(rng.integers(len(self._cache)))
        side, margin = self._data.patch // self._scale, kind.margin
        sizes = self._cache.input(index).shape[:2]
        y, x = (margin + int(rng.integers(size - 2 * margin - side + 1)) for size in sizes)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        maps = self._style.per == "pixel" and (number // self._batch) % self._style.map_every == 0
        t_map = draw_style(self._style, batch_rng, rng, side, maps)
        low, high = kind.t
        return CropChoice(
            index,
            y,
            x,
            turns if self._data.rotations else 0,
            flip and self._data.flips,
            (low + (high - low) * t_map).astype(np.float32),
            kind.taught,
            rng,
        )

    def __getitem__(self, number: int) -> _Item:
        choice = self.choose(number)
        lr = self._cut(self._cache.input(choice.index), choice, 1)
        photo = self._cache.photo(choice.index)
        if photo is None:
            hr = np.zeros((self._data.patch, self._data.patch, 3), np.uint8)
        else:
            hr = self._cut(photo, choice, self._scale)
        if self._data.degradation:
            lr = degrade(np.ascontiguousarray(hr), self._scale, self._data.degradation, choice.rng)
        pictures = {
            name: _channels_first(self._cut(teacher.picture(choice.index), choice, self._scale))
            for name, teacher in self._teachers.items()
        }
        bounds = torch.tensor([float(choice.t_map.min()), float(choice.t_map.max())])
        t_map = torch.from_numpy(choice.t_map)
        return _channels_first(lr), _channels_first(hr), t_map, bounds, choice.taught, pictures

    def _cut(self, pixels: Pixels, choice: CropChoice, scale: int) -> Pixels:
        part = pixels[window(choice, self._data.patch // self._scale, scale)]
        part = np.rot90(part, choice.turns)
        return part[:, ::-1] if choice.flip else part


def window(choice: CropChoice, side: int, scale: int) -> tuple[slice, slice]:
    """Rows and columns of a crop of `side` input pixels in a picture of `scale` times the size of the input."""
    return tuple(slice(first * scale, (first + side) * scale) for first in (choice.y, choice.x))  # type: ignore[return-value]


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())  # torch does not support negative strides
