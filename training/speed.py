"""The speed of a run: time per step, crops per second, and peak memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fxsr.extras import needs

with needs("train"):
    import torch


@dataclass(frozen=True)
class Speed:
    """Means over some steps, without the time for measuring and saving."""

    seconds: float
    """Per step."""
    samples: float
    """Crops per second, of all processes."""
    memory: int
    """Peak memory of this process so far, in bytes: on the GPU, or on the host if it trains on the CPU."""


class Stopwatch:
    """Times the steps of a stage.

    Args:
        crops: number of crops per step.
        device: where the steps run.
    """

    def __init__(self, crops: int, device: torch.device) -> None:
        self._crops, self._device = crops, device
        self._begin, self._paused = time.perf_counter(), 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time in the block."""
        begin = time.perf_counter()
        yield
        self._paused += time.perf_counter() - begin

    def lap(self, steps: int) -> Speed:
        """The speed of the steps since the last call; `steps` is their number. Call it when the device is done."""
        now = time.perf_counter()
        seconds = max(now - self._begin - self._paused, 1e-9)
        self._begin, self._paused = now, 0.0
        return Speed(seconds / steps, steps * self._crops / seconds, peak_memory(self._device))


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on a GPU, or resident of this process on a CPU; 0: the system has no figure."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
