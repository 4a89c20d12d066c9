"""What a device must offer: memory, copies, streams, events and graphs. Nothing here depends on models.

`fxsr.runtime.device.cuda` and `fxsr.runtime.device.pycuda` implement it on NVIDIA GPUs.
`fxsr.runtime.device.session` runs on any implementation; tests use one in host memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import UsageError
from fxsr.runtime.session import Closable

CUDA_LIBRARIES = ("cuda-python", "pycuda")
DLPACK_CUDA = 2
"""DLPack's device type of CUDA memory."""


@dataclass(frozen=True, eq=False)
class Block:
    """A piece of memory. Whoever allocates it must free it."""

    ptr: int
    nbytes: int
    host: NDArray[np.uint8] | None = None
    """The bytes as an array, for pinned memory. None: the CPU can't access the memory."""
    owner: Any = None
    """An object that keeps the memory alive, if there is one."""

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The beginning of the block as an array. Only pinned memory has one."""
        if self.host is None:
            raise ValueError("the CPU can't access device memory")
        return self.host[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)


class Event(Protocol):
    """A point in a stream's sequence of work."""

    def sync(self) -> None:
        """Wait on the CPU until the work before it is done.

        Raises:
            FxsrError: the work failed.
        """
        ...


class Stream(Protocol):
    """A queue of work that is done in order, independently of other streams."""

    @property
    def handle(self) -> int:
        """The stream as CUDA libraries take it."""
        ...

    def record(self, timed: bool = False) -> Event:
        """An event after all work submitted so far. Pass `timed` for `DeviceMemory.elapsed`."""
        ...

    def wait(self, event: Event) -> None:
        """Make work submitted from now on wait for the event. The CPU does not wait."""
        ...

    def sync(self) -> None:
        """Wait on the CPU until all work submitted so far is done.

        Raises:
            FxsrError: some of it failed.
        """
        ...


class Graph(Closable, Protocol):
    """Captured work, which can be submitted again in one call."""

    def launch(self, stream: Stream) -> None:
        """Submit the work to a stream."""
        ...


class DeviceMemory(Closable, Protocol):
    """One device. Use it from one thread at a time.

    Every method raises OutOfMemoryError if there is too little memory, and DeviceError if the device fails.
    """

    @property
    def name(self) -> str:
        """Name for messages, such as "cuda:0"."""
        ...

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """DLPack's device type and index."""
        ...

    @property
    def pci(self) -> str:
        """PCI address, such as "0000:3B:00.0"."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make this the calling thread's current device inside the block, as allocation, capturing and other libraries
        require. Afterwards the previous device is current again."""
        ...

    def alloc(self, nbytes: int) -> Block:
        """Allocate device memory, at least 256-byte aligned. Its contents are undefined."""
        ...

    def alloc_pinned(self, nbytes: int) -> Block:
        """Allocate pinned host memory, which the device reads and writes directly."""
        ...

    def free(self, block: Block) -> None:
        """Free memory of either kind."""
        ...

    def stream(self) -> Stream:
        """Create a stream."""
        ...

    def foreign_stream(self, stream: Any) -> Stream:
        """Wrap the caller's stream, given as a handle or as an object with one. The caller keeps owning it.

        Raises:
            UsageError: not a stream.
        """
        ...

    def copy(self, target: Block, source: Block, nbytes: int, stream: Stream) -> None:
        """Submit a copy between device and pinned memory, or within the device, to the stream."""
        ...

    def elapsed(self, first: Event, last: Event) -> float:
        """Seconds between two timed events that have passed."""
        ...

    def available(self) -> tuple[int, int]:
        """Free bytes, and bytes in total."""
        ...

    def capture(self, work: Callable[[Stream], None], stream: Stream) -> Graph | None:
        """Capture what `work` submits to the stream, without running it. None: it can't be captured."""
        ...


def stream_handle(stream: Any) -> int:
    """The handle of a stream of cuda-python, torch, CuPy, numba or PyCUDA, or the handle itself; None is the default
    stream.

    Raises:
        UsageError: the object is none of these.
    """
    if stream is None:
        return 0
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("cuda_stream", "ptr", "handle"):  # torch, CuPy, PyCUDA and numba
        found = getattr(stream, name, None)
        if found is not None:
            stream = getattr(found, "value", found) or 0  # ctypes calls 0 None
            break
    try:
        return int(stream)
    except (TypeError, ValueError):
        raise UsageError(f"{stream!r} is not a CUDA stream; give its handle, or a stream of torch or CuPy") from None
