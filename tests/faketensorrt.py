"""A fake of TensorRT's Python module. It runs ONNX Runtime on a device in host memory."""

from __future__ import annotations

from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fxsr.models.manifest import Profile, Shape
from tests.hostdevice import ALIGNMENT, HostMemory


class FakeTensorRT(SimpleNamespace):
    """The part of `tensorrt_rtx` that `fxsr.runtime.backends.tensorrt` uses. The bytes of an engine are an ONNX file.

    It refuses what TensorRT refuses: shapes outside the profile, and work without shapes, addresses or scratch memory.
    """

    def __init__(self, memory: HostMemory, profiles: tuple[Profile, ...], rtx: bool = True) -> None:
        super().__init__(
            __version__="1.7.0.0",
            ILogger=_Logger,
            IProfiler=object,
            TensorIOMode=IntEnum("TensorIOMode", {"NONE": 0, "INPUT": 1, "OUTPUT": 2}),
            ExecutionContextAllocationStrategy=IntEnum("Strategy", {"STATIC": 0, "USER_MANAGED": 2}),
            DynamicShapesKernelSpecializationStrategy=IntEnum("Kernels", {"LAZY": 0, "EAGER": 1, "NONE": 2}),
        )
        self.memory = memory
        self.profiles = profiles
        self.rtx = rtx
        self.contexts: list[_Context] = []
        self.cache: bytes | None = b""
        self.refitted: list[str] = []
        self.scratch = 1000
        self.marks: list[int] = []
        self.fail: str | None = None
        """Message with which the next execution fails. None: it succeeds."""

    def Runtime(self, log: Any) -> Any:  # noqa: N802
        def load(data: bytes) -> Any:
            if data[:4] == b"junk":
                log.log(_Severity.ERROR, "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed")
                return None
            return _Engine(self, log, data)

        return SimpleNamespace(deserialize_cuda_engine=load)

    def Refitter(self, engine: Any, log: Any) -> Any:  # noqa: N802
        return SimpleNamespace(refit_cuda_engine=lambda: bool(self.refitted))

    def OnnxParserRefitter(self, refitter: Any, log: Any) -> Any:  # noqa: N802
        def refit(model: str) -> bool:
            self.refitted.append(model)
            return True

        return SimpleNamespace(refit_from_file=refit)


class _Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class _Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = _Severity


class _Engine:
    def __init__(self, trt: FakeTensorRT, log: Any, data: bytes) -> None:
        self.trt = trt
        self.log = log
        self.session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.inputs = {each.name: each for each in self.session.get_inputs()}
        self._tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self._tensors)
        self.num_optimization_profiles = len(trt.profiles)

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors[index].name)

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode.INPUT if name in self.inputs else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        (found,) = (each.type for each in self._tensors if each.name == name)
        names = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(uint8)": "UINT8"}
        return SimpleNamespace(name=names[found])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Shape]:
        sizes = self.trt.profiles[index].inputs[name]
        return [sizes.min, sizes.opt, sizes.max]

    def create_runtime_config(self) -> Any:
        config = SimpleNamespace(strategy=None, set_runtime_cache=lambda cache: True)

        def choose(strategy: Any) -> None:
            config.strategy = strategy

        def deserialize(data: bytes) -> bool:
            self.trt.cache = data
            return True

        config.set_execution_context_allocation_strategy = choose
        if self.trt.rtx:
            config.create_runtime_cache = lambda: SimpleNamespace(
                deserialize=deserialize,
                serialize=lambda: None if self.trt.cache is None else self.trt.cache + b"kernels;",
            )
        return config

    def create_execution_context(self, how: Any) -> Any:
        strategy = getattr(how, "strategy", how)
        assert strategy == self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = _Context(self)
        self.trt.contexts.append(context)
        return context


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._profile = 0
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._scratch = (0, 0)
        self._profiler: Any = None

    @property
    def profiler(self) -> Any:
        return self._profiler

    @profiler.setter
    def profiler(self, profiler: Any) -> None:
        if profiler is not None:  # the real one logs an error and keeps the old profiler
            self._profiler = profiler

    def set_optimization_profile_async(self, index: int, handle: int) -> bool:
        if index >= len(self._engine.trt.profiles):
            raise RuntimeError("the library's call failed")
        self._profile, self._shapes = index, {}
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        sizes = self._engine.trt.profiles[self._profile].inputs[name]
        if not all(low <= size <= high for low, size, high in zip(sizes.min, shape, sizes.max, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        image, style = self._shapes.get("lr", ()), self._shapes.get("t_map", ())
        sides = image[1:3] if image[-1:] == (3,) else image[2:]
        if any(size not in (1, whole) for size, whole in zip(style[2:], sides, strict=False)):
            self._engine.log.log(_Severity.ERROR, "dimensions not compatible for elementwise")
            raise RuntimeError("the library's call failed")
        return [name for name in self._engine.inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> Shape:
        assert name == "sr"
        assert not self.infer_shapes()
        image = next(shape for name, shape in self._shapes.items() if name != "t_map")
        if image[-1] in (3, 4):
            return (image[0], 4 * image[1], 4 * image[2], 3)
        return (image[0], 3, 4 * image[2], 4 * image[3])

    def update_device_memory_size_for_shapes(self) -> int:
        assert not self.infer_shapes()
        return self._engine.trt.scratch * max(shape[-1] for shape in self._shapes.values())

    def set_device_memory(self, ptr: int, nbytes: int) -> None:
        assert ptr % ALIGNMENT == 0
        self._scratch = (ptr, nbytes)

    def is_stream_capturable(self, handle: int) -> bool:
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        trt = self._engine.trt
        if trt.fail:
            self._engine.log.log(_Severity.ERROR, trt.fail)
            return False
        shapes, addresses, (scratch, size) = dict(self._shapes), dict(self._addresses), self._scratch
        if (
            self.infer_shapes()
            or set(addresses) != {*shapes, "sr"}
            or size < self.update_device_memory_size_for_shapes()
        ):
            return False
        output, session, memory = self.get_tensor_shape("sr"), self._engine.session, trt.memory

        mark = len(trt.marks) % 200
        trt.marks.append(mark)

        def begin() -> None:
            memory.span(scratch, size)[:] = mark

        def work() -> None:
            assert (memory.span(scratch, size) == mark).all(), "scratch memory was used by others meanwhile"
            feed = {name: self._array(addresses[name], shape, name) for name, shape in shapes.items()}
            (sr,) = session.run(["sr"], feed)
            memory.span(addresses["sr"], sr.nbytes)[:] = np.ascontiguousarray(sr).reshape(-1).view(np.uint8)
            assert sr.shape == output
            if self.profiler:
                self.profiler.report_layer_time("conv_first", 2.0)

        memory.streams[handle].give(begin)
        memory.streams[handle].give(work)
        return True

    def _array(self, address: int, shape: Shape, name: str) -> NDArray[Any]:
        dtype = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
        kind = np.dtype(dtype[self._engine.inputs[name].type])
        nbytes = int(np.prod(shape)) * kind.itemsize
        found: NDArray[Any] = self._engine.trt.memory.span(address, nbytes).view(kind).reshape(shape)
        return found
