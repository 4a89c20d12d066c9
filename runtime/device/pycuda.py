"""NVIDIA GPUs through PyCUDA, for pipelines that already own a PyCUDA context. PyCUDA does not support graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fxsr.errors import DeviceError, OutOfMemoryError, UsageError, first_line
from fxsr.extras import needs
from fxsr.runtime.device.protocols import DLPACK_CUDA, Block, DeviceMemory, Event, Graph, Stream

_DEFAULT_STREAMS = (0, 1)
"""Handles of the one default stream."""
_NON_BLOCKING = 1
_NO_TIMING = 2  # event_flags.DISABLE_TIMING


class PycudaMemory(DeviceMemory):
    """One GPU, in the current context or else in its primary one.

    PyCUDA's objects belong to the thread that created them: close this in the thread that opened it.

    Raises:
        MissingExtraError: PyCUDA is not installed.
        DeviceError: there is no such GPU, or no driver.
    """

    def __init__(self, index: int) -> None:
        with needs("pycuda"):
            try:
                import pycuda.driver as driver
            except ModuleNotFoundError:
                raise
            except ImportError as error:  # its module is linked with the driver's library
                raise DeviceError(f"cuda:{index} can't be used: no driver ({first_line(error)})") from error
        self.driver: Any = driver
        self._own: Any = None
        with self.errors("opening the GPU"):
            driver.init()
            current = driver.Context.get_current()
            if current is None:
                self._own = driver.Device(index).retain_primary_context()
                self._own.push()
            elif driver.Context.get_device() != driver.Device(index):
                raise DeviceError(f"cuda:{index} is not the GPU of the current PyCUDA context")
        self.index = index

    @property
    def name(self) -> str:
        return f"cuda:{self.index}"

    @property
    def dlpack_device(self) -> tuple[int, int]:
        return DLPACK_CUDA, self.index

    @property
    def pci(self) -> str:
        with self.errors("querying the GPU"):
            return str(self.driver.Device(self.index).pci_bus_id())

    @contextmanager
    def current(self) -> Iterator[None]:
        yield  # the context is always current in its thread, the only one that may use it

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn PyCUDA's errors inside the block into ours."""
        try:
            yield
        except self.driver.MemoryError as error:
            raise OutOfMemoryError(f"cuda: not enough memory ({what})") from error
        except self.driver.Error as error:
            raise DeviceError(f"cuda: {what} failed ({first_line(error)})") from error

    def alloc(self, nbytes: int) -> Block:
        with self.errors("allocating"):
            memory = self.driver.mem_alloc(nbytes)
        return Block(int(memory), nbytes, owner=memory)

    def alloc_pinned(self, nbytes: int) -> Block:
        with self.errors("allocating pinned memory"):
            flags = self.driver.host_alloc_flags.PORTABLE
            array = self.driver.pagelocked_empty((nbytes,), np.uint8, mem_flags=flags)
        return Block(int(array.ctypes.data), nbytes, array, array.base)

    def free(self, block: Block) -> None:
        with self.errors("freeing"):
            block.owner.free()

    def stream(self) -> PycudaStream:
        return PycudaStream(self, self.driver.Stream(_NON_BLOCKING))

    def foreign_stream(self, stream: Any) -> PycudaStream:
        if stream is None or (isinstance(stream, int) and stream in _DEFAULT_STREAMS):
            return PycudaStream(self, None)
        if not isinstance(stream, self.driver.Stream):
            raise UsageError(f"with FXSR_CUDA=pycuda a stream is a pycuda.driver.Stream, not {stream!r}")
        return PycudaStream(self, stream)

    def copy(self, target: Block, source: Block, nbytes: int, stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        with self.errors("copying"):
            if source.host is not None:
                self.driver.memcpy_htod_async(target.ptr, source.host[:nbytes], stream.stream)
            elif target.host is not None:
                self.driver.memcpy_dtoh_async(target.host[:nbytes], source.ptr, stream.stream)
            else:
                self.driver.memcpy_dtod_async(target.ptr, source.ptr, nbytes, stream.stream)

    def elapsed(self, first: Event, last: Event) -> float:
        assert isinstance(first, PycudaEvent)
        assert isinstance(last, PycudaEvent)
        return float(first.event.time_till(last.event)) / 1e3

    def available(self) -> tuple[int, int]:
        free, total = self.driver.mem_get_info()
        return int(free), int(total)

    def capture(self, work: Callable[[Stream], None], stream: Stream) -> Graph | None:
        return None

    def close(self) -> None:
        if self._own is not None:
            self._own.pop()
            self._own = None


class PycudaStream(Stream):
    """A `pycuda.driver.Stream`. None is the default stream, as everywhere in PyCUDA."""

    def __init__(self, memory: PycudaMemory, stream: Any) -> None:
        self._memory = memory
        self.stream = stream

    @property
    def handle(self) -> int:
        return 0 if self.stream is None else int(self.stream.handle)

    def record(self, timed: bool = False) -> PycudaEvent:
        with self._memory.errors("recording an event"):
            event = self._memory.driver.Event(0 if timed else _NO_TIMING)
            event.record(self.stream)
        return PycudaEvent(self._memory, event)

    def wait(self, event: Event) -> None:
        assert isinstance(event, PycudaEvent)
        with self._memory.errors("waiting for an event"):
            if self.stream is None:  # PyCUDA has no call for this: wait on the CPU
                event.event.synchronize()
            else:
                self.stream.wait_for_event(event.event)

    def sync(self) -> None:
        self.record().sync()


class PycudaEvent(Event):
    """A `pycuda.driver.Event`."""

    def __init__(self, memory: PycudaMemory, event: Any) -> None:
        self._memory = memory
        self.event = event

    def sync(self) -> None:
        with self._memory.errors("a stream's work"):
            self.event.synchronize()
