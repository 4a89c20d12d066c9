"""What a session is: the contract that every backend fulfils.

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

from fxsr.errors import DeviceLostError, FxsrError, OutOfMemoryError, UsageError, first_line
from fxsr.models.manifest import ModelFacts, Precision
from fxsr.runtime.layouts import session_dtype
from fxsr.runtime.timing import Timing

Array = NDArray[Any]

_MIN_SIDE = 16
"""Smallest side of a tile in LR pixels: in smaller tiles the network sees mostly padding, and gets even their
brightness wrong."""


@dataclass(frozen=True)
class Device:
    """Where a model runs."""

    kind: str
    """"cpu", "cuda", or "auto" as a request: a GPU if one works, else the CPU. Sessions never report "auto"."""
    index: int = 0
    """Number of the GPU."""

    @staticmethod
    def parse(text: str) -> Device:
        """A device from "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            UsageError: anything else.
        """
        match = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d+)", text)
        if not match:
            raise UsageError(f"device is {text!r}; it must be auto, cpu, cuda or cuda:N")
        return Device(match[1] or "cuda", int(match[2] or 0))

    @property
    def is_cpu(self) -> bool:
        return self.kind == "cpu"

    def __str__(self) -> str:
        """As `parse` takes it: "cpu", "cuda:0", ..."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind


CPU = Device("cpu")


@dataclass(frozen=True)
class SessionInfo:
    """What a session runs, and where."""

    name: str
    """Model name."""
    scale: int
    """Upscaling factor."""
    dtype: np.dtype[Any]
    """Type of `lr`, `t_map` and `sr`."""
    backend: str
    """"onnxruntime", "tensorrt", "tensorrt-rtx" or "torch"."""
    device: Device
    facts: ModelFacts | None = None
    """The exported graph that runs. None: a checkpoint runs as it is."""
    baked_t: float | None = None
    """The style that the model is fixed at; the session ignores `t_map`. None: the model takes any style."""
    batch: int = 1
    """The largest batch that is worth giving."""
    tile: tuple[int, int] | None = None
    """Height and width of the largest tile that the model takes. None: any size."""
    least: tuple[int, int, int] = (1, 1, 1)
    """The smallest batch, height and width of tiles that the model takes."""
    note: str = ""
    """One line for the user: why "auto" is the CPU although a GPU, or ONNX Runtime for GPUs, is there."""

    @staticmethod
    def of_graph(
        facts: ModelFacts,
        backend: str,
        device: Device,
        *,
        batch: int = 1,
        tile: tuple[int, int] | None = None,
        least: tuple[int, int, int] = (1, 1, 1),
        note: str = "",
    ) -> SessionInfo:
        """The info of a session that runs an exported graph. Arguments are as the fields."""
        return SessionInfo(
            name=facts.name,
            scale=facts.scale,
            dtype=session_dtype(facts),
            backend=backend,
            device=device,
            facts=facts,
            baked_t=facts.baked_t,
            batch=batch,
            tile=tile,
            least=least,
            note=note,
        )

    @property
    def precision(self) -> Precision:
        """Precision of the arithmetic."""
        if self.facts:
            return self.facts.precision
        return "fp16" if self.dtype == np.float16 else "fp32"

    @property
    def fixed(self) -> bool:
        """Whether the model takes one shape only."""
        return self.tile is not None and self.least == (self.batch, *self.tile)

    def filled(self, height: int, width: int) -> tuple[int, int]:
        """The size to which a tile of this size must be padded, outwards on all sides."""
        least = (min(side, _MIN_SIDE) for side in self.tile or (_MIN_SIDE, _MIN_SIDE))
        down, across = map(max, self.least[1:], least)
        return max(height, down), max(width, across)


def check_open(is_open: object) -> None:
    """Say in one line that a session was closed.

    Args:
        is_open: what the session runs with; None or false once it is closed.

    Raises:
        UsageError: it is closed.
    """
    if not is_open:
        raise UsageError("this session is closed; open the model again, and use it inside the `with` block")


class Closable(Protocol):
    """Something that holds a resource until `close` is called, or a `with` block ends."""

    def close(self) -> None:
        """Free the resource."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session(Closable, Protocol):
    """One model, ready to run. Use it from one thread at a time."""

    @property
    def info(self) -> SessionInfo:
        """What this session runs, and where."""
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
            UsageError: the session is closed.
            FxsrError: the backend failed.
        """
        ...

    def stream(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[Array]:
        """Upscale batches of `lr` and `t_map` in order; several may be in flight at once.

        A result is valid only until the next one is requested. Take all results, or close the iterator, before giving
        the session other work. Raises what `run` raises.
        """
        for lr, t_map in batches:
            yield self.run(lr, t_map)

    def run_device(self, lr: Any, t_map: Any, out: Any, stream: Any = None) -> None:
        """Upscale a batch that is on the device into an array on the device: without a copy, and without waiting.

        Arrays are contiguous objects with `__dlpack__` or `__cuda_array_interface__` (torch, CuPy, PyCUDA, numba).
        They, and `out`, must stay alive until the stream has finished this work.

        Args:
            lr: the graph's own `lr`, (N, 3, H, W) or as it was exported; for a packed graph, its `lr_t`.
            t_map: the graph's own `t_map`; None for a graph without one.
            out: the array that `sr` is written to, of the same shape as `sr`.
            stream: the caller's CUDA stream, or its handle; None is the default stream. A stream that is being
                captured as a graph can't be used.

        Raises:
            UsageError: this session runs on the CPU, or an array is of the wrong type, shape or layout.
            DeviceError: an array is not on this session's device.
        """
        raise UsageError(f"{self.info.backend} on {self.info.device} takes host arrays; use `run`")

    def measure(self, lr: Array, t_map: Array) -> Timing:
        """Upscale a batch on host arrays, and return how long it took. Takes and raises what `run` does."""
        begin = time.perf_counter()
        self.run(lr, t_map)
        total = time.perf_counter() - begin
        return Timing(total, total)

    def profile_layers(self, lr: Array, t_map: Array) -> list[tuple[str, float]]:
        """Names of the layers as the backend runs them, in order, and the seconds that each takes in one run.

        Raises:
            UsageError: the backend does not report times of layers.
        """
        raise UsageError(f"{self.info.backend} does not report times of layers; ONNX Runtime and TensorRT do")

    def device_memory(self) -> int | None:
        """Bytes of the device's memory that this session holds. None: unknown, or there is no such device."""
        return None


_LOST = re.compile(
    "illegal memory access|IllegalAddress|unspecified launch failure|LaunchFailure|misaligned address|"
    "illegal instruction|uncorrectable ECC|device-side assert",
    re.IGNORECASE,
)
"""Messages about errors after which CUDA can't be used in a process (driver_types.h says of which)."""


def tile_error(library: str, out_of_memory: re.Pattern[str], lr: Any, error: Exception) -> FxsrError:
    """Turn a library's error on a batch of tiles into one of ours.

    Args:
        library: its name, for the message.
        out_of_memory: matches the library's messages about a lack of memory.
        lr: the batch, (N, 3, H, W).
        error: what the library raised.
    """
    size = f"{lr.shape[3]}x{lr.shape[2]}"
    if out_of_memory.search(str(error)):
        return OutOfMemoryError(f"too little memory for a {size} tile in batches of {lr.shape[0]}")
    if _LOST.search(str(error)):
        reason = first_line(error)
        return DeviceLostError(f"{library}: the GPU can't be used any more in this process ({reason})")
    return FxsrError(f"{library} failed on a {size} tile: {first_line(error)}")
