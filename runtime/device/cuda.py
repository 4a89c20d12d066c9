"""NVIDIA GPUs through cuda-python's bindings of the CUDA runtime. Every call returns a status, then its values."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fxsr.errors import DeviceError, DeviceLostError, FxsrError, OutOfMemoryError
from fxsr.extras import needs
from fxsr.runtime.device.protocols import DLPACK_CUDA, Block, DeviceMemory, Event, Graph, Stream, stream_handle

_OUT_OF_MEMORY = 2
_ABSENT = {3: "no CUDA", 35: "no driver, or one too old", 46: "the GPU is busy", 100: "no GPU", 101: "no such GPU"}
_FATAL = {214, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721, 911}
"""After these errors the process can't use the GPU any more (driver_types.h)."""
_PCI_LENGTH = 32
_NON_BLOCKING = 1
_NO_TIMING = 2
_PORTABLE = 1
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal
_ANY_DIRECTION = 4  # cudaMemcpyDefault: CUDA derives it from the pointers


class CudaMemory(DeviceMemory):
    """One GPU in its primary context, which torch, TensorRT and ONNX Runtime use too.

    Raises:
        MissingExtraError: cuda-python is not installed.
        DeviceError: there is no such GPU, or no driver.
    """

    def __init__(self, index: int) -> None:
        with needs("gpu"):
            from cuda.bindings import driver, runtime
        self.cuda: Any = runtime
        self._driver: Any = driver
        self.index = index
        with self.current():
            self.call("cudaFree", 0)  # creates the context now, so that a failure is reported here

    @property
    def name(self) -> str:
        return f"cuda:{self.index}"

    @property
    def dlpack_device(self) -> tuple[int, int]:
        return DLPACK_CUDA, self.index

    @property
    def pci(self) -> str:
        found: bytes = self.call("cudaDeviceGetPCIBusId", _PCI_LENGTH, self.index)
        return found.decode().strip("\0 ")  # padded to the length that was asked for

    @contextmanager
    def current(self) -> Iterator[None]:
        before = self.call("cudaGetDevice")
        self.call("cudaSetDevice", self.index)
        try:
            yield
        finally:
            if before != self.index and self._is_used(before):
                self.call("cudaSetDevice", before)

    def _is_used(self, index: int) -> bool:
        """Whether this process has a context on that GPU. Switching back without one would create it, at some hundred
        MB."""
        status, _, active = self._driver.cuDevicePrimaryCtxGetState(index)
        return int(status) == 0 and bool(active)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the CUDA runtime, and return its value, or a tuple of several values.

        Raises:
            OutOfMemoryError, DeviceError: its status is not success.
        """
        status, *values = getattr(self.cuda, function)(*arguments)
        code = int(status)
        if code == 0:
            return values[0] if len(values) == 1 else tuple(values)
        if code not in _FATAL:
            self.cuda.cudaGetLastError()  # otherwise the next call would report it again
        if code == _OUT_OF_MEMORY:
            raise OutOfMemoryError(f"{self.name}: not enough memory ({function})")
        if code in _ABSENT:
            raise DeviceError(f"{self.name} can't be used: {_ABSENT[code]} (CUDA error {code}); try --device cpu")
        failure = f"{self.name}: {function} failed with {status.name} ({code})"
        if code in _FATAL:
            raise DeviceLostError(f"{failure}; the GPU can't be used any more in this process")
        raise DeviceError(failure)

    def alloc(self, nbytes: int) -> Block:
        return Block(int(self.call("cudaMalloc", nbytes)), nbytes)

    def alloc_pinned(self, nbytes: int) -> Block:
        ptr = int(self.call("cudaHostAlloc", nbytes, _PORTABLE))
        return Block(ptr, nbytes, np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(ptr)))

    def free(self, block: Block) -> None:
        self.call("cudaFree" if block.host is None else "cudaFreeHost", block.ptr)

    def stream(self) -> CudaStream:
        return CudaStream(self, int(self.call("cudaStreamCreateWithFlags", _NON_BLOCKING)), owned=True)

    def foreign_stream(self, stream: Any) -> CudaStream:
        return CudaStream(self, stream_handle(stream), owned=False)

    def copy(self, target: Block, source: Block, nbytes: int, stream: Stream) -> None:
        kind = self.cuda.cudaMemcpyKind(_ANY_DIRECTION)
        self.call("cudaMemcpyAsync", target.ptr, source.ptr, nbytes, kind, stream.handle)

    def elapsed(self, first: Event, last: Event) -> float:
        assert isinstance(first, CudaEvent)
        assert isinstance(last, CudaEvent)
        return float(self.call("cudaEventElapsedTime", first.handle, last.handle)) / 1e3

    def available(self) -> tuple[int, int]:
        free, total = self.call("cudaMemGetInfo")
        return int(free), int(total)

    def capture(self, work: Callable[[Stream], None], stream: Stream) -> Graph | None:
        mode = self.cuda.cudaStreamCaptureMode(_THREAD_LOCAL)
        try:
            self.call("cudaStreamBeginCapture", stream.handle, mode)
        except FxsrError:  # the work can still run uncaptured, or will report the fault itself
            return None
        recorded = False
        try:
            work(stream)
            recorded = True
        except FxsrError:
            pass
        finally:  # in any case: a stream that is still capturing takes no other work
            status, graph = self.cuda.cudaStreamEndCapture(stream.handle)
        if int(status) != 0:
            self.cuda.cudaGetLastError()
            return None
        if not recorded:
            self.call("cudaGraphDestroy", graph)
            return None
        try:
            return CudaGraph(self, self.call("cudaGraphInstantiate", graph, 0))
        except FxsrError:  # such as too little memory; the work can still run uncaptured
            return None
        finally:
            self.call("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Do nothing, since others use the primary context too."""


class CudaStream(Stream):
    """A stream by its handle. It is destroyed with this object if this object owns it."""

    def __init__(self, memory: CudaMemory, handle: int, *, owned: bool) -> None:
        self._memory = memory
        self._handle = handle
        self._owned = owned

    @property
    def handle(self) -> int:
        return self._handle

    def record(self, timed: bool = False) -> CudaEvent:
        event = CudaEvent(self._memory, timed)
        self._memory.call("cudaEventRecord", event.handle, self._handle)
        return event

    def wait(self, event: Event) -> None:
        assert isinstance(event, CudaEvent)
        self._memory.call("cudaStreamWaitEvent", self._handle, event.handle, 0)

    def sync(self) -> None:
        self._memory.call("cudaStreamSynchronize", self._handle)

    def __del__(self) -> None:
        if self._owned:
            self._memory.cuda.cudaStreamDestroy(self._handle)


class CudaEvent(Event):
    """An event. It is destroyed with this object; CUDA keeps what pending work still needs."""

    def __init__(self, memory: CudaMemory, timed: bool) -> None:
        self._memory = memory
        self.handle = memory.call("cudaEventCreateWithFlags", 0 if timed else _NO_TIMING)

    def sync(self) -> None:
        self._memory.call("cudaEventSynchronize", self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._memory.cuda.cudaEventDestroy(self.handle)


class CudaGraph(Graph):
    """An instantiated graph."""

    def __init__(self, memory: CudaMemory, executable: Any) -> None:
        self._memory = memory
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        self._memory.call("cudaGraphLaunch", self._executable, stream.handle)

    def close(self) -> None:
        self._memory.call("cudaGraphExecDestroy", self._executable)
