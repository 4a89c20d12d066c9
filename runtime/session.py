"""What a session is, and how a model file becomes one.

A session runs one model on one device, on whole tensors. It knows nothing of images, tiles or styles; see
`fxsr.runtime.upscale` for those. A new backend is one module in `fxsr.runtime.backends` with a class that has these
methods, and one line in `fxsr.runtime.open`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import FxsrError, OutOfMemoryError, UsageError, first_line
from fxsr.runtime.timing import Timing

Array = NDArray[Any]

CHECKPOINTS = (".pth", ".pt", ".safetensors")


_LEAST_SIDE = 16
"""Of tiles: of smaller ones the network sees mostly the nothing around them, and gets even their brightness wrong."""


@dataclass(frozen=True)
class SessionInfo:
    """What a session runs, and on what."""

    name: str
    """Model name."""
    scale: int
    """Upscaling factor."""
    dtype: np.dtype[Any]
    """Type of `lr`, `t_map` and `sr`."""
    backend: str
    """"onnxruntime", "tensorrt", "tensorrt-rtx" or "torch"."""
    device: str
    """"cpu", "cuda:0", ..."""
    baked_t: float | None = None
    """The style that the model is fixed at, whatever it is asked for. None: it takes any."""
    batch: int = 1
    """The largest batch worth giving."""
    tile: tuple[int, int] | None = None
    """Height and width of the largest tile that it takes. None: any."""
    least: tuple[int, int, int] = (1, 1, 1)
    """The smallest batch, height and width of tiles that it takes."""

    @property
    def fixed(self) -> bool:
        """It takes one shape only."""
        return self.tile is not None and self.least == (self.batch, *self.tile)

    def filled(self, height: int, width: int) -> tuple[int, int]:
        """The size that a tile is filled up to, outwards on all sides."""
        least = (min(side, _LEAST_SIDE) for side in self.tile or (_LEAST_SIDE, _LEAST_SIDE))
        down, across = map(max, self.least[1:], least)
        return max(height, down), max(width, across)


class Closable(Protocol):
    """Something that holds a resource until `close` is called, or a `with` block ends."""

    def close(self) -> None:
        """Free what is held."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session(Closable, Protocol):
    """One model, ready to run. For one thread at a time."""

    @property
    def info(self) -> SessionInfo:
        """What this session runs, and on what."""
        ...

    def run(self, lr: Array, t_map: Array) -> Array:
        """Upscale a batch on host arrays.

        Args:
            lr: (N, 3, H, W) of `info.dtype`, RGB in 0..1.
            t_map: (N or 1, 1, H or 1, W or 1) of `info.dtype`, style in 0..1.

        Returns:
            sr, (N, 3, scale*H, scale*W) of `info.dtype`, not clamped.

        Raises:
            OutOfMemoryError: there is too little memory for a batch of this size.
            FxsrError: the backend failed.
        """
        ...

    def stream(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[Array]:
        """Upscale batches of `lr` and `t_map` in order; several may be under way at once.

        A result is valid only until the next one is asked for; all are to be taken, or the iterator closed, before the
        session is given other work. Raises as `run` does.
        """
        for lr, t_map in batches:
            yield self.run(lr, t_map)

    def run_device(self, lr: Any, t_map: Any, out: Any, stream: Any = None) -> None:
        """Upscale a batch that is on the device, into an array there: no copy, and no waiting on the CPU.

        Arrays are anything with `__dlpack__` or `__cuda_array_interface__` (torch, CuPy, PyCUDA, numba), contiguous.
        They, and `out`, must stay alive until the stream has come so far.

        Args:
            lr: the graph's own `lr`, (N, 3, H, W) or as it was exported; of a packed graph its `lr_t`.
            t_map: the graph's own; None where it has none.
            out: as large as `sr`; it is written to.
            stream: a CUDA stream of the caller's, or its handle; None is the default stream. Not one that is being
                captured as a graph.

        Raises:
            UsageError: this session runs on the CPU, or an array is of the wrong type, shape or layout.
            DeviceError: an array is not on this session's device.
        """
        raise UsageError(f"{self.info.backend} on {self.info.device} takes host arrays; use `run`")

    def measure(self, lr: Array, t_map: Array) -> Timing:
        """Upscale a batch on host arrays, and say what it took. Takes and raises what `run` does."""
        begin = time.perf_counter()
        self.run(lr, t_map)
        total = time.perf_counter() - begin
        return Timing(total, total)

    def profile_layers(self, lr: Array, t_map: Array) -> list[tuple[str, float]]:
        """Layers as the backend runs them, in its order, and the seconds that each takes in one run.

        Raises:
            UsageError: the backend does not tell.
        """
        raise UsageError(f"{self.info.backend} does not tell what its layers take; ONNX Runtime and TensorRT do")

    def device_memory(self) -> int | None:
        """Bytes of the device's memory that this session has taken. None: not known, or there is no device."""
        return None


@dataclass(frozen=True)
class Device:
    """Where to run: "auto" takes a GPU that works, else the CPU."""

    kind: str
    index: int = 0

    @staticmethod
    def parse(text: str) -> Device:
        """From "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            UsageError: anything else.
        """
        match = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d+)", text)
        if not match:
            raise UsageError(f"device is {text!r}; it must be auto, cpu, cuda or cuda:N")
        return Device(match[1] or "cuda", int(match[2] or 0))

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


def tile_error(library: str, out_of_memory: re.Pattern[str], lr: Any, error: Exception) -> FxsrError:
    """A library's error on a batch of tiles as ours; `out_of_memory` is what it says then."""
    size = f"{lr.shape[3]}x{lr.shape[2]}"
    if out_of_memory.search(str(error)):
        return OutOfMemoryError(f"too little memory for a {size} tile in batches of {lr.shape[0]}")
    return FxsrError(f"{library} failed on a {size} tile: {first_line(error)}")
