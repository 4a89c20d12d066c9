"""What running on a device needs of it: memory, copies, streams, events, graphs. Nothing here knows of models.

`fxsr.runtime.device.cuda` and `fxsr.runtime.device.pycuda` implement it on NVIDIA GPUs.
`fxsr.runtime.device.session` runs on any implementation; tests run it on one of host memory.
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
"""DLPack's number for memory of CUDA devices."""


@dataclass(frozen=True, eq=False)
class Block:
    """A piece of memory. Whoever allocated it frees it."""

    ptr: int
    nbytes: int
    host: NDArray[np.uint8] | None = None
    """The bytes, where the CPU can see them: pinned memory."""
    owner: Any = None
    """What keeps the memory alive, if something does."""

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Its beginning as an array; of pinned memory only."""
        if self.host is None:
            raise ValueError("memory of a device has no view on the CPU")
        return self.host[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)


class Event(Protocol):
    """A point in a stream's work."""

    def sync(self) -> None:
        """Wait on the CPU until the work before it is done.

        Raises:
            FxsrError: the work failed.
        """
        ...


class Stream(Protocol):
    """Work that is done in order, apart from that of other streams."""

    @property
    def handle(self) -> int:
        """What libraries of CUDA take as a stream."""
        ...

    def record(self, timed: bool = False) -> Event:
        """An event behind all work given so far; `timed`: one for `DeviceMemory.elapsed`."""
        ...

    def wait(self, event: Event) -> None:
        """Let what is given from now on begin only after the event. Does not wait on the CPU."""
        ...

    def sync(self) -> None:
        """Wait on the CPU until all work given so far is done.

        Raises:
            FxsrError: some of it failed.
        """
        ...


class Graph(Closable, Protocol):
    """Work that was recorded and can be given again at once."""

    def launch(self, stream: Stream) -> None: ...


class DeviceMemory(Closable, Protocol):
    """One device. For one thread at a time.

    Every method raises OutOfMemoryError where memory is short and DeviceError where the device fails.
    """

    @property
    def name(self) -> str:
        """Such as "cuda:0"."""
        ...

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """DLPack's device type and index, for arrays that are handed over."""
        ...

    @property
    def pci(self) -> str:
        """Where the device sits, such as "0000:3B:00.0"."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Inside the block this device is the calling thread's: allocating, recording and other libraries ask that of a
        thread. Afterwards it is the one that was before."""
        ...

    def alloc(self, nbytes: int) -> Block:
        """Memory of the device, at least 256-byte aligned; what is in it is undefined."""
        ...

    def alloc_pinned(self, nbytes: int) -> Block:
        """Memory of the host that the device reads and writes by itself."""
        ...

    def free(self, block: Block) -> None: ...

    def stream(self) -> Stream: ...

    def foreign_stream(self, stream: Any) -> Stream:
        """A stream of the caller's: its handle, or an object that has one; it stays his.

        Raises:
            UsageError: not a stream.
        """
        ...

    def copy(self, target: Block, source: Block, nbytes: int, stream: Stream) -> None:
        """Copy between device and pinned memory, or within the device, in the stream's turn."""
        ...

    def elapsed(self, first: Event, last: Event) -> float:
        """Seconds between two timed events that have passed."""
        ...

    def available(self) -> tuple[int, int]:
        """Bytes that are free, and bytes in all."""
        ...

    def capture(self, work: Callable[[Stream], None], stream: Stream) -> Graph | None:
        """Record what `work` gives to the stream, without doing it. None: it can't be recorded."""
        ...


def stream_handle(stream: Any) -> int:
    """The handle of a stream of cuda-python, torch, CuPy, numba or PyCUDA, or the handle itself; None is the default
    stream.

    Raises:
        UsageError: it is none of them.
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
