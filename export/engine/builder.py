"""Builds an engine. This runs in a separate process, which can be stopped at any moment.

TensorRT and TensorRT-RTX have the same Python interface but for a few names; the module is a parameter here, and names
that only one of them has are looked up. Both are called through `Any`, since neither has type hints.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from fxsr.errors import FxsrError, MissingExtraError, ModelFileError
from fxsr.models.manifest import BuildOptions, Flavour, Profile
from fxsr.runtime.backends.tensorrt.engine_file import load_flavour
from fxsr.runtime.backends.tensorrt.library import TensorRTLog, check_cuda, make_log, type_name

_ACTIVATION = re.compile(r"Total Activation Memory: (\d+)")
_WEIGHTS = re.compile(r"Total Weights Memory: (\d+)")


@dataclass(frozen=True)
class BuildRequest:
    """What the builder's process has to build."""

    flavour: Flavour
    onnx: Path
    plan: Path
    """Where to write the engine."""
    profiles: tuple[Profile, ...]
    options: BuildOptions
    timing_cache: Path | None = None
    """File of kernel timings from earlier builds, read and written. TensorRT only."""


@dataclass(frozen=True)
class EngineBuild:
    """What the builder reports about the engine that it wrote."""

    tensors: dict[str, str]
    """Types of inputs and output, as numpy names them."""
    activation_bytes: tuple[int | None, ...]
    """Memory for activations, for each profile."""
    weight_bytes: int | None
    seconds: float
    """Duration of the build."""


@dataclass(frozen=True)
class BuildEvent:
    """A message from the builder's process."""

    kind: Literal["phase", "log", "built", "failed", "unwritable"]
    text: str = ""
    build: EngineBuild | None = None
    """The result, if `kind` is "built"."""


def serve(request: BuildRequest, pipe: Connection) -> None:
    """Build an engine, and send events through `pipe`. The last event's kind is neither "phase" nor "log".

    This is the target of the builder's process.
    """
    import multiprocessing
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    parent = multiprocessing.parent_process()

    def die_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=die_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(event: BuildEvent) -> None:
        with lock:
            pipe.send(event)

    try:
        if request.flavour == "tensorrt":
            with suppress(MissingExtraError):  # without cuda-python nobody can tell
                check_cuda()
        send(BuildEvent("built", build=build(load_flavour(request.flavour), request, send)))
    except OSError as error:
        send(BuildEvent("unwritable", error.strerror or str(error)))
    except (FxsrError, ImportError, TypeError, RuntimeError) as error:
        send(BuildEvent("failed", str(error)))


def build(trt: Any, request: BuildRequest, on_event: Callable[[BuildEvent], None]) -> EngineBuild:
    """Build an engine and write it to `request.plan`.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        request: what to build.
        on_event: called at the beginning of each phase and with every log message, possibly from the builder's threads.

    Raises:
        ModelFileError: the builder refuses the ONNX file or the profiles; the message is the builder's first error.
        OSError: the engine can't be written.
    """
    begin = time.perf_counter()
    log = make_log(trt, lambda severity, message: on_event(BuildEvent("log", f"{severity}: {message}")))
    builder = trt.Builder(log)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # TensorRT 10 needs to be told
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(request.onnx)):
        fault = parser.get_error(0)
        raise ModelFileError(
            f"{request.onnx}: the parser rejects it ({fault.node_name() or 'the file'}: {fault.desc()})"
        )
    config = builder.create_builder_config()
    _configure(trt, config, request)
    config.progress_monitor = _monitor(trt, on_event)
    for profile in request.profiles:
        shapes = builder.create_optimization_profile()
        for name, sizes in profile.inputs.items():
            shapes.set_shape(name, sizes.min, sizes.opt, sizes.max)
        if config.add_optimization_profile(shapes) < 0:
            raise ModelFileError(f"{request.onnx}: the builder rejects profile {profile.name} ({log.first_error()})")
    cache = _load_timing_cache(config, request)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelFileError(f"{request.onnx}: the builder failed: {log.first_error()}")
    with request.plan.open("wb") as file:
        file.write(plan)
    if cache is not None:
        _save_timing_cache(config, request)
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    activation = [*_numbers(log, _ACTIVATION), *[None] * len(request.profiles)][: len(request.profiles)]
    return EngineBuild(
        tensors={tensor.name: type_name(tensor.dtype) for tensor in tensors},
        activation_bytes=tuple(activation),
        weight_bytes=next(iter(_numbers(log, _WEIGHTS)), None),
        seconds=time.perf_counter() - begin,
    )


def _configure(trt: Any, config: Any, request: BuildRequest) -> None:
    options, flag = request.options, trt.BuilderFlag
    if options.opt_level is not None:
        config.builder_optimization_level = options.opt_level
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.version_compatible:
        config.set_flag(flag.VERSION_COMPATIBLE)
    if options.strip_weights:
        config.set_flag(flag.STRIP_PLAN)
    if options.refit:
        config.set_flag(getattr(flag, "REFIT_IDENTICAL", None) or flag.REFIT)
    resize = getattr(trt.PreviewFeature, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
    if resize is not None:  # otherwise contexts take the memory of the largest shapes
        config.set_preview_feature(resize, True)
    if request.flavour == "tensorrt":
        if options.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        return
    # Without it a large engine allocates memory at run time: the builder's figure is then too small, and CUDA graphs
    # fail.
    config.set_flag(flag.REQUIRE_USER_ALLOCATION)
    config.num_compute_capabilities = len(options.compute_capabilities)
    for index, capability in enumerate(options.compute_capabilities):
        member = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
        if member is None or not config.set_compute_capability(member, index):
            raise ModelFileError(f"TensorRT-RTX {trt.__version__} does not build for compute capability {capability}")


def _load_timing_cache(config: Any, request: BuildRequest) -> Any:
    if request.flavour != "tensorrt" or request.timing_cache is None:
        return None
    saved = request.timing_cache.read_bytes() if request.timing_cache.is_file() else b""
    cache = config.create_timing_cache(saved)
    if not config.set_timing_cache(cache, ignore_mismatch=False):  # it is for another GPU or version
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _save_timing_cache(config: Any, request: BuildRequest) -> None:
    from fxsr.files import atomic_path

    assert request.timing_cache is not None
    with atomic_path(request.timing_cache) as temporary:
        temporary.write_bytes(config.get_timing_cache().serialize())


def _numbers(log: TensorRTLog, pattern: re.Pattern[str]) -> list[int]:
    return [int(found[1]) for found in map(pattern.search, log.lines) if found]


def _monitor(trt: Any, on_event: Callable[[BuildEvent], None]) -> Any:
    class ProgressMonitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            on_event(BuildEvent("phase", name))

        def step_complete(self, name: str, step: int) -> bool:
            return True

        def phase_finish(self, name: str) -> None:
            pass

    return ProgressMonitor()
