"""Sessions on TensorRT and TensorRT-RTX engines: the library's side. `fxsr.runtime.device.session` does the scheduling.

The two libraries have the same Python interface but for a few names, which are looked up; the module is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from fxsr.errors import DeviceError, FxsrError, ModelFileError, OutOfMemoryError, UsageError
from fxsr.files import atomic_path
from fxsr.models.file import engine_flavour, manifest_path
from fxsr.models.manifest import BuildOptions, ModelFacts, Profile, Shape, is_intact
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile, check_runnable, load_flavour, read_engine
from fxsr.runtime.backends.tensorrt.library import TensorRTLog, runtime_log, type_name
from fxsr.runtime.backends.tensorrt.undescribed import describe_engine
from fxsr.runtime.device.lanes import Context, Engine
from fxsr.runtime.device.open import open_device
from fxsr.runtime.device.protocols import Block, Stream
from fxsr.runtime.device.session import DeviceSession
from fxsr.runtime.machine.gpu import Gpu, find_gpus
from fxsr.runtime.session import Device, Session, SessionInfo

_OUT_OF_MEMORY = re.compile("out ?of ?memory", re.IGNORECASE)


def open_engine(path: Path, device: Device, *, trust: bool = False) -> Session:
    """Open an engine file as a session.

    Args:
        path: a `.plan` or `.engine`.
        device: where to run it; "auto" means the first GPU.
        trust: load it without a manifest. Engines are executable code.

    Raises:
        ModelFileError: the file must not be loaded, or can't be.
        DeviceError: there is no such GPU, or the engine was built for another one.
        MissingExtraError: a package is not installed.
    """
    if device.kind == "cpu":
        raise DeviceError(f"{path}: an engine runs on NVIDIA GPUs only; give the .onnx file to use the CPU")
    file = None if trust and not manifest_path(path).is_file() else read_engine(path)
    trt = load_flavour(file.facts.flavour if file else engine_flavour(path))
    gpus = find_gpus()
    if device.index >= len(gpus):
        if file:
            check_runnable(file, trt, None)
        raise DeviceError(f"{path}: this machine has no {device if device.kind == 'cuda' else 'NVIDIA GPU'}")
    memory = open_device(device.index)
    try:
        # CUDA and the driver's tool may number the GPUs differently
        gpu = next((each for each in gpus if each.has_address(memory.pci)), gpus[device.index])
        log = runtime_log(trt)
        with memory.current():
            if file:
                check_runnable(file, trt, gpu)
            loaded = load_engine(trt, log, path, file)
            file = file or describe_engine(trt, loaded, path)
            engine = TensorRTEngine(trt, log, loaded, file, gpu)
            return DeviceSession(engine, memory, session_info(file, Device("cuda", device.index)))
    except BaseException:
        memory.close()
        raise


def load_engine(trt: Any, log: TensorRTLog, path: Path, file: EngineFile | None = None) -> Any:
    """Deserialise an engine as a `trt.ICudaEngine`. An engine without weights gets those of its ONNX file.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`, as the engine's flavour says.
        log: from `runtime_log`.
        path: the file.
        file: what its manifest says about it. None: there is no manifest.

    Raises:
        ModelFileError: the library refuses the engine, or the ONNX file that holds its weights is missing.
        OutOfMemoryError: its weights don't fit into memory.
    """
    options = file.facts.options if file else BuildOptions()
    runtime = trt.Runtime(log)
    if options.version_compatible:  # the engine holds code for later versions
        runtime.engine_host_code_allowed = True
    log.clear()
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise failure(log, f"{path}: it can't be loaded", ModelFileError)
    if file and options.strip_weights:
        _give_weights(trt, log, engine, file)
    return engine


def _give_weights(trt: Any, log: TensorRTLog, engine: Any, file: EngineFile) -> None:
    onnx = file.manifest.onnx
    if not is_intact(file.path.parent, onnx):
        raise ModelFileError(
            f"{file.path}: it holds no weights, and {onnx.file}, which does, is missing or has changed"
        )
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    log.clear()
    if not (parser.refit_from_file(str(file.path.with_name(onnx.file))) and refitter.refit_cuda_engine()):
        raise failure(log, f"{file.path}: it can't take the weights of {onnx.file}", ModelFileError)


def failure(log: TensorRTLog, what: str, kind: type[FxsrError] = FxsrError) -> FxsrError:
    """The error for a call that has just failed, with what the library logged."""
    if _OUT_OF_MEMORY.search(" ".join(log.errors)):
        kind = OutOfMemoryError
    return kind(f"{what} ({log.first_error()})")


def session_info(file: EngineFile, device: Device) -> SessionInfo:
    """The info of a session that runs this engine."""
    facts, profile = file.manifest.model, file.facts.profiles[0]
    image = facts.inputs[0]
    number, height, width = (image.layout.index(axis) for axis in "NHW")
    sizes = profile.inputs[image.name]
    return SessionInfo.of_graph(
        facts,
        file.facts.flavour,
        device,
        batch=sizes.max[number],
        tile=(sizes.max[height], sizes.max[width]),
        least=(sizes.min[number], sizes.min[height], sizes.min[width]),
    )


class TensorRTEngine(Engine):
    """A deserialised engine and, with TensorRT-RTX, the kernels that were compiled for it earlier on this GPU.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`, as the engine's flavour says.
        log: the log that it was loaded with.
        engine: the result of `load_engine`.
        file: the file and its manifest.
        gpu: the GPU that it runs on.

    Raises:
        ModelFileError: the engine is not what its manifest says.
    """

    def __init__(self, trt: Any, log: TensorRTLog, engine: Any, file: EngineFile, gpu: Gpu) -> None:
        self.trt = trt
        self.log = log
        self.file = file
        self._engine = engine
        self._check_tensors()
        self._cache: Any = None
        self._cache_path = _cache_path(file, trt.__version__, gpu)
        self._config = self._runtime_config()

    @property
    def facts(self) -> ModelFacts:
        return self.file.manifest.model

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return self.file.facts.profiles

    @property
    def weight_bytes(self) -> int:
        return self.file.facts.weight_bytes or 0

    def context(self) -> Context:
        strategy = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self.log.clear()
        # without a runtime configuration, before TensorRT 10.11, the strategy itself is the argument
        context = self._engine.create_execution_context(self._config if self._config is not None else strategy)
        if context is None:
            raise failure(self.log, "TensorRT can't create an execution context")
        return TensorRTContext(self, context)

    def layer_times(self, context: Context, run: Callable[[], None]) -> list[tuple[str, float]]:
        assert isinstance(context, TensorRTContext)
        return context.layer_times(run)

    def keep_compiled(self) -> None:
        """Save the kernels that TensorRT-RTX has compiled, so that a process that is killed has kept them too."""
        compiled = self._cache.serialize() if self._cache is not None else None
        if compiled is not None:
            with suppress(FxsrError, OSError), atomic_path(self._cache_path) as temporary:
                temporary.write_bytes(bytes(compiled))

    def close(self) -> None:
        """Save the compiled kernels, and free the engine."""
        self.keep_compiled()
        self._config = self._cache = self._engine = None

    def _runtime_config(self) -> Any:
        if not hasattr(self._engine, "create_runtime_config"):
            return None
        trt, config = self.trt, self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if hasattr(config, "create_runtime_cache"):
            self._cache = config.create_runtime_cache()
            if self._cache_path.is_file():
                with suppress(OSError):
                    self._cache.deserialize(
                        self._cache_path.read_bytes()
                    )  # False: another driver's, so the cache starts empty
            config.set_runtime_cache(self._cache)
            # there are few shapes: compile kernels for each right away. A captured graph would keep slower, generic
            # ones
            eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        return config

    def _check_tensors(self) -> None:
        """Compare the manifest with what the engine itself reports."""
        engine, model = self._engine, self.facts
        found = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        wanted = [tensor.name for tensor in (*model.inputs, *model.outputs)]
        if sorted(found) != sorted(wanted):
            raise ModelFileError(f"{self.file.path}: it has the tensors {', '.join(found)}, not {', '.join(wanted)}")
        for tensor in (*model.inputs, *model.outputs):
            dtype = type_name(engine.get_tensor_dtype(tensor.name))
            if dtype != tensor.dtype:
                raise ModelFileError(f"{self.file.path}: {tensor.name} is {dtype}, not {tensor.dtype}; export it again")


class TensorRTContext(Context):
    """An execution context whose scratch memory comes from outside."""

    def __init__(self, engine: TensorRTEngine, context: Any) -> None:
        self._engine = engine
        self._context = context
        self._output = engine.facts.outputs[0].name

    def prepare(self, shapes: Mapping[str, Shape], stream: Stream) -> int:
        engine, context = self._engine, self._context
        index = engine.file.facts.profile_for(shapes)
        if index is None:
            raise UsageError(f"{engine.file.path.name}: {why_unfit(engine.facts, engine.profiles, shapes)}")
        engine.log.clear()
        try:
            if not context.set_optimization_profile_async(index, stream.handle):
                raise failure(engine.log, f"TensorRT refuses profile {index}")
            stream.sync()  # the caller may enqueue on another
            for name, shape in shapes.items():
                if not context.set_input_shape(name, shape):
                    raise failure(engine.log, f"TensorRT refuses {name} of shape {shape}")
            if missing := context.infer_shapes():
                raise failure(engine.log, f"the shape of {', '.join(missing)} is unknown")
        except RuntimeError as error:  # the bindings raise it if two of these calls fail
            combination = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise failure(
                engine.log, f"{engine.file.path.name} does not take {combination} together", UsageError
            ) from error
        needed = int(context.update_device_memory_size_for_shapes())
        if needed == 0 and engine.log.errors:
            raise failure(engine.log, "the memory that these shapes need is unknown")
        return needed

    def output_shape(self) -> Shape:
        return tuple(int(size) for size in self._context.get_tensor_shape(self._output))

    def use_scratch(self, memory: Block) -> None:
        self._context.set_device_memory(memory.ptr, memory.nbytes)

    def can_be_captured(self, stream: Stream) -> bool:
        is_capturable = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX only
        return is_capturable is None or bool(is_capturable(stream.handle))

    def enqueue(self, addresses: Mapping[str, int], stream: Stream) -> None:
        self._engine.log.clear()
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise failure(self._engine.log, f"TensorRT refuses the address of {name}")
        if not self._context.execute_async_v3(stream.handle):
            raise failure(self._engine.log, "TensorRT failed to run the engine")

    def layer_times(self, run: Callable[[], None]) -> list[tuple[str, float]]:
        """Seconds of each layer while `run` runs this context. Close the context then, since it keeps the profiler."""
        profiler = _profiler(self._engine.trt)
        self._context.profiler = profiler
        run()
        return list(profiler.times)

    def close(self) -> None:
        self._context = None


def why_unfit(facts: ModelFacts, profiles: tuple[Profile, ...], shapes: Mapping[str, Shape]) -> str:
    """One line that says why no profile takes inputs of these shapes, and what to do."""
    image = facts.inputs[0]
    number, height, width = (image.layout.index(axis) for axis in "NHW")
    sizes, shape = profiles[0].inputs[image.name], shapes[image.name]
    side = max(shape[height], shape[width])
    least, most = max(sizes.min[height], sizes.min[width]), min(sizes.max[height], sizes.max[width])
    if shape[number] > sizes.max[number]:
        return f"a batch of {shape[number]} exceeds {sizes.max[number]}: export again with --batch {shape[number]}"
    if side > most:
        return f"tile {side} exceeds {most}: export again with --tile {side}, or run with --tile {most}"
    if min(shape[height], shape[width]) < least:
        return f"a tile of {shape[width]}x{shape[height]} is less than {least}: export again with --shapes for a range"
    if shape[number] < sizes.min[number]:
        return f"a batch of {shape[number]} is less than {sizes.min[number]}: export again with --batch MIN,OPT,MAX"
    return f"no profile takes {', '.join(f'{name} {size}' for name, size in shapes.items())}"


def _cache_path(file: EngineFile, version: str, gpu: Gpu) -> Path:
    """Where to keep the kernels that TensorRT-RTX compiles, by engine, version, GPU and driver."""
    name = f"{file.facts.file.sha256[:16]}-{version}-{gpu.name}-{gpu.driver}".replace(" ", "-").replace("/", "-")
    return platformdirs.user_cache_path("fxsr") / "kernels" / f"{name}.cache"


def _profiler(trt: Any) -> Any:
    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.times: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.append((layer_name, ms / 1e3))

    return Profiler()
