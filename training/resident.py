"""Crops cut on the GPU from pictures in its memory; they equal those that `fxsr.training.crops` cuts on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fxsr.extras import needs
from fxsr.training.crops import CropChoice, Crops, Sources, window
from fxsr.training.transfer import to_device

with needs("train"):
    import torch
    from torch import Tensor

_SHARE = 0.4
"""Largest share of the free device memory that pictures may take."""


def fits(sources: Sources, device: torch.device) -> bool:
    """Whether all photos, inputs and teachers' pictures fit into the free memory of a GPU."""
    paths = [sources.cache.path, *(teacher.path for teacher in sources.teachers.values())]
    return sum(path.stat().st_size for path in paths) <= _SHARE * torch.cuda.mem_get_info(device)[0]


class ResidentPictures:
    """All pictures of a run in the memory of a device, laid out as in the files of the cache.

    Args:
        crops: chooses the crops.
        sources: the pictures.
        patch: side of an HR crop, in pixels.
        scale: photo size over input size.
        device: device that holds them.
    """

    def __init__(self, crops: Crops, sources: Sources, patch: int, scale: int, device: torch.device) -> None:
        self._crops, self._sources, self._scale, self._side, self._device = (
            crops,
            sources,
            scale,
            patch // scale,
            device,
        )
        self._pictures = _load(sources.cache.path, device)
        self._teachers = {name: _load(teacher.path, device) for name, teacher in sources.teachers.items()}

    def cut(
        self, numbers: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[tuple[float, float], ...], tuple[bool, ...], dict[str, Tensor]]:
        """The crops with these numbers, as `Crops` has them; pixels are uint8.

        This does not wait for the device.
        """
        choices = [self._crops.choose(number) for number in numbers]
        lr = torch.stack([self._input(choice) for choice in choices])
        hr = torch.stack([self._photo(choice) for choice in choices])
        teachers = {
            name: torch.stack([self._teacher(name, choice) for choice in choices]) for name in self._sources.teachers
        }
        t_map = to_device(torch.from_numpy(np.stack([choice.t_map for choice in choices])), self._device)
        bounds = tuple((float(choice.t_map.min()), float(choice.t_map.max())) for choice in choices)
        return lr, hr, t_map, bounds, tuple(choice.taught for choice in choices), teachers

    def _input(self, choice: CropChoice) -> Tensor:
        entry = self._sources.cache.entries[choice.index]
        photo = 0 if entry.native else entry.height * entry.width * 3
        size = entry.height // self._scale, entry.width // self._scale
        return self._cut(self._pictures, entry.hr + photo, size, choice, 1)

    def _photo(self, choice: CropChoice) -> Tensor:
        entry = self._sources.cache.entries[choice.index]
        if entry.native:
            side = self._side * self._scale
            return torch.zeros(3, side, side, dtype=torch.uint8, device=self._device)
        return self._cut(self._pictures, entry.hr, (entry.height, entry.width), choice, self._scale)

    def _teacher(self, name: str, choice: CropChoice) -> Tensor:
        entry = self._sources.cache.entries[choice.index]
        begin = self._sources.teachers[name].offsets[choice.index]
        return self._cut(self._teachers[name], begin, (entry.height, entry.width), choice, self._scale)

    def _cut(self, pixels: Tensor, begin: int, size: tuple[int, int], choice: CropChoice, scale: int) -> Tensor:
        whole = pixels[begin : begin + size[0] * size[1] * 3].view(*size, 3)
        part = torch.rot90(whole[window(choice, self._side, scale)], choice.turns)
        return (part.flip(1) if choice.flip else part).permute(2, 0, 1)


def _load(path: object, device: torch.device) -> Tensor:
    return torch.from_numpy(np.fromfile(path, np.uint8)).to(device)  # type: ignore[call-overload]
