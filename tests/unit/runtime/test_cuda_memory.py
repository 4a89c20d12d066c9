"""The modules that stand between and CUDA, on stand-ins for cuda-python and PyCUDA that answer as those do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fxsr.errors import DeviceError, FxsrError, MissingExtraError, OutOfMemoryError, UsageError
from fxsr.runtime.device.open import open_device
from fxsr.runtime.device.protocols import stream_handle


class Status(IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815


class FakeCuda:
    """`cuda.bindings.runtime`: every function answers (status, value), and is written down."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failing: dict[str, Status] = {}
        self.host = np.zeros(1 << 16, np.uint8)
        self.values = {
            "cudaGetDevice": 3,
            "cudaDeviceGetPCIBusId": b"0000:1B:00.0\0",
            "cudaMalloc": 4096,
            "cudaHostAlloc": int(self.host.ctypes.data),
            "cudaStreamCreateWithFlags": 7,
            "cudaEventCreateWithFlags": 9,
            "cudaEventElapsedTime": 2.5,
            "cudaMemGetInfo": (10, 20),
            "cudaStreamEndCapture": 11,
            "cudaGraphInstantiate": 12,
            "cuDevicePrimaryCtxGetState": (0, 1),
        }
        self.cudaMemcpyKind = self.cudaStreamCaptureMode = int

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            status = self.failing.get(name, Status.cudaSuccess)
            value = self.values.get(name) if status == 0 else None
            return (status, *value) if isinstance(value, tuple) else (status,) if value is None else (status, value)

        return call


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake, bindings = FakeCuda(), ModuleType("cuda.bindings")
    bindings.runtime = bindings.driver = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.delenv("FXSR_CUDA", raising=False)
    return fake


def test_memory_streams_and_events(cuda: FakeCuda) -> None:
    memory = open_device(1)
    assert (memory.name, memory.dlpack_device, memory.available()) == ("cuda:1", (2, 1), (10, 20))
    device, pinned = memory.alloc(100), memory.alloc_pinned(100)
    assert device.host is None
    assert pinned.host is not None
    pinned.host[:] = 5
    assert (cuda.host[:100] == 5).all()
    stream = memory.stream()
    memory.copy(device, pinned, 100, stream)
    assert cuda.calls[-1] == ("cudaMemcpyAsync", 4096, pinned.ptr, 100, 4, 7)
    stream.wait(stream.record())
    assert ("cudaStreamWaitEvent", 7, 9, 0) in cuda.calls
    assert memory.elapsed(stream.record(timed=True), stream.record(timed=True)) == 0.0025
    memory.free(device)
    memory.free(pinned)
    assert [call[0] for call in cuda.calls if "Free" in call[0]] == ["cudaFree", "cudaFree", "cudaFreeHost"]


def test_the_threads_own_device_is_left_as_it_was(cuda: FakeCuda) -> None:
    memory = open_device(1)
    assert memory.pci == "0000:1B:00.0"
    cuda.calls.clear()
    with pytest.raises(KeyError), memory.current():
        raise KeyError
    cuda.values["cudaGetDevice"] = 1
    with memory.current():
        pass
    assert [call for call in cuda.calls if call[0] == "cudaSetDevice"] == [
        ("cudaSetDevice", 1),
        ("cudaSetDevice", 3),
        ("cudaSetDevice", 1),
    ]


def test_no_context_is_made_on_a_device_to_go_back_to_it(cuda: FakeCuda) -> None:
    memory = open_device(1)
    cuda.calls.clear()
    cuda.values |= {"cudaGetDevice": 0, "cuDevicePrimaryCtxGetState": (0, 0)}
    with memory.current():
        pass
    assert [call for call in cuda.calls if call[0] == "cudaSetDevice"] == [("cudaSetDevice", 1)]


def test_where_recording_cannot_begin_there_is_no_graph(cuda: FakeCuda) -> None:
    memory = open_device(0)
    cuda.failing["cudaStreamBeginCapture"] = Status.cudaErrorMemoryAllocation
    assert memory.capture(lambda stream: None, memory.stream()) is None


def test_only_our_own_streams_are_destroyed(cuda: FakeCuda) -> None:
    memory = open_device(0)
    memory.foreign_stream(77).sync()
    memory.stream()
    assert [call for call in cuda.calls if call[0] == "cudaStreamDestroy"] == [("cudaStreamDestroy", 7)]


def test_a_graph_is_recorded_and_launched(cuda: FakeCuda) -> None:
    memory = open_device(0)
    stream = memory.stream()
    graph = memory.capture(lambda s: cuda.calls.append(("work", s.handle)), stream)
    assert graph is not None
    graph.launch(stream)
    graph.close()
    names = [call[0] for call in cuda.calls]
    begin = names.index("cudaStreamBeginCapture")
    assert names[begin : begin + 6] == [
        "cudaStreamBeginCapture",
        "work",
        "cudaStreamEndCapture",
        "cudaGraphInstantiate",
        "cudaGraphDestroy",
        "cudaGraphLaunch",
    ]
    assert ("cudaGraphExecDestroy", 12) in cuda.calls


def test_what_cannot_be_recorded_ends_the_recording(cuda: FakeCuda) -> None:
    memory = open_device(0)

    def fail(stream: Any) -> None:
        raise FxsrError("the engine refuses")

    assert memory.capture(fail, memory.stream()) is None
    assert ("cudaStreamEndCapture", 7) in cuda.calls
    assert ("cudaGraphDestroy", 11) in cuda.calls
    cuda.failing["cudaStreamEndCapture"] = Status.cudaErrorStreamCaptureUnsupported
    cuda.values["cudaStreamEndCapture"] = (None,)
    stream = memory.stream()
    fake = cuda.cudaStreamEndCapture
    cuda.cudaStreamEndCapture = lambda handle: (*fake(handle), None)  # type: ignore[attr-defined]
    assert memory.capture(lambda s: None, stream) is None
    assert any(call[0] == "cudaGetLastError" for call in cuda.calls)  # or the next call would report it
    del cuda.cudaStreamEndCapture
    cuda.failing = {"cudaGraphInstantiate": Status.cudaErrorMemoryAllocation}
    assert memory.capture(lambda s: None, stream) is None


@pytest.mark.parametrize(
    ("function", "status", "error", "message"),
    [
        ("cudaMalloc", Status.cudaErrorMemoryAllocation, OutOfMemoryError, "cuda:0: not enough memory"),
        ("cudaMalloc", Status.cudaErrorIllegalAddress, DeviceError, "can't be used any more in this process"),
        ("cudaSetDevice", Status.cudaErrorInsufficientDriver, DeviceError, "no driver, or one too old"),
    ],
)
def test_statuses_become_errors(
    function: str, status: Status, error: type[FxsrError], message: str, cuda: FakeCuda
) -> None:
    cuda.failing[function] = status
    with pytest.raises(error, match=message):
        open_device(0).alloc(100)


def test_without_a_driver_the_real_bindings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXSR_CUDA", raising=False)
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if runtime.cudaDriverGetVersion()[1]:
        pytest.skip("there is a driver")
    with pytest.raises(DeviceError, match=r"cuda:0 can't be used: no driver.*try --device cpu"):
        open_device(0)


def test_another_provider_is_named_and_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXSR_CUDA", "cupy")
    with pytest.raises(UsageError, match="FXSR_CUDA is 'cupy'; it must be cuda-python or pycuda"):
        open_device(0)
    monkeypatch.setenv("FXSR_CUDA", "pycuda")
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(MissingExtraError, match=r"\.\[pycuda\]"):
        open_device(0)


@pytest.mark.parametrize(
    "stream",
    [
        5,
        SimpleNamespace(cuda_stream=5),
        SimpleNamespace(ptr=5),
        SimpleNamespace(handle=5),
        SimpleNamespace(handle=SimpleNamespace(value=5)),
        SimpleNamespace(__cuda_stream__=lambda: (0, 5)),
    ],
)
def test_streams_of_other_libraries(stream: Any) -> None:
    assert stream_handle(stream) == 5


def test_what_is_no_stream_is_refused() -> None:
    assert stream_handle(None) == 0
    with pytest.raises(UsageError, match="is not a CUDA stream"):
        stream_handle("x")


class FakePycuda(ModuleType):
    """`pycuda.driver`, without a current context."""

    class Error(Exception): ...

    class MemoryError(Error): ...

    class Stream:
        handle = 3

        def __init__(self, flags: int = 0) -> None:
            assert flags == 1  # or it would wait for the default stream
            self.waited: list[Any] = []

        def synchronize(self) -> None: ...

        def wait_for_event(self, event: Any) -> None:
            self.waited.append(event)

    class Event:
        def __init__(self, flags: int) -> None:
            self.flags = flags

        def record(self, stream: Any = None) -> None: ...

        def synchronize(self) -> None: ...

        def time_till(self, other: Any) -> float:
            return 2.5

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.calls: list[str] = []
        context = SimpleNamespace(push=lambda: self.calls.append("push"), pop=lambda: self.calls.append("pop"))
        self.Context = SimpleNamespace(get_current=lambda: None)
        self.Device = lambda index: SimpleNamespace(retain_primary_context=lambda: context)
        self.host_alloc_flags = SimpleNamespace(PORTABLE=1)
        self.room = 1000

    def init(self) -> None: ...

    def mem_alloc(self, nbytes: int) -> Any:
        if nbytes > self.room:
            raise self.MemoryError("cuMemAlloc failed: out of memory")

        class Allocation:
            free = staticmethod(lambda: self.calls.append("free"))
            __int__ = staticmethod(lambda: 4096)

        return Allocation()

    def pagelocked_empty(self, shape: Any, dtype: Any, mem_flags: int) -> Any:
        base = SimpleNamespace(free=lambda: self.calls.append("free pinned"))
        array = np.zeros(shape, dtype)
        return SimpleNamespace(ctypes=array.ctypes, base=base, __getitem__=array.__getitem__)

    def memcpy_dtod_async(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self.calls.append("copy")

    def mem_get_info(self) -> tuple[int, int]:
        return 10, 20


def test_pycuda_answers_to_the_same_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, package = FakePycuda(), ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setenv("FXSR_CUDA", "pycuda")
    memory = open_device(0)
    device, pinned = memory.alloc(100), memory.alloc_pinned(100)
    stream = memory.stream()
    memory.copy(device, device, 100, stream)
    stream.wait(stream.record())
    stream.sync()
    assert memory.elapsed(stream.record(timed=True), stream.record(timed=True)) == 0.0025
    assert memory.available() == (10, 20)
    assert memory.capture(lambda s: None, stream) is None  # it has no graphs
    assert memory.foreign_stream(driver.Stream(1)).handle == 3
    default = memory.foreign_stream(None)
    assert default.handle == memory.foreign_stream(1).handle == 0
    default.wait(stream.record())
    default.sync()
    with pytest.raises(UsageError, match=r"a stream is a pycuda\.driver\.Stream"):
        memory.foreign_stream(3)
    with pytest.raises(OutOfMemoryError):
        memory.alloc(5000)
    memory.free(device)
    memory.free(pinned)
    memory.close()
    assert driver.calls == ["push", "copy", "free", "free pinned", "pop"]
