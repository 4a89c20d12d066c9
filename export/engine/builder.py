"""The builder's side of an engine build. It runs in a process of its own, which can be stopped at any moment.

TensorRT and TensorRT-RTX have the same Python interface but for a few names; the module is a parameter here, and what
only one of them has is asked for by name. Both are called through `Any`: neither is typed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from fxsr.errors import FxsrError, ModelFileError
from fxsr.models.manifest import BuildOptions, Flavour, Profile
from fxsr.runtime.backends.tensorrt.engine_file import load_flavour
from fxsr.runtime.backends.tensorrt.library import Log, make_log, type_name

_ACTIVATION = re.compile(r"Total Activation Memory: (\d+)")
_WEIGHTS = re.compile(r"Total Weights Memory: (\d+)")


@dataclass(frozen=True)
class BuildRequest:
    """What to build."""

    flavour: Flavour
    onnx: Path
    plan: Path
    """Where to write the engine."""
    profiles: tuple[Profile, ...]
    options: BuildOptions
    timing_cache: Path | None = None
    """Measurements of earlier builds, read and written; TensorRT only."""


@dataclass(frozen=True)
class EngineBuild:
    """What a builder says of the engine that it wrote."""

    tensors: dict[str, str]
    activation_bytes: tuple[int | None, ...]
    """By profile."""
    weight_bytes: int | None
    seconds: float


@dataclass(frozen=True)
class BuildEvent:
    """What the builder's process tells while it works."""

    kind: Literal["phase", "log", "built", "failed", "unwritable"]
    text: str = ""
    built: EngineBuild | None = None


def serve(order: BuildRequest, pipe: Connection) -> None:
    """Build, as the target of a process, and tell through `pipe` how it goes. The last news is not "phase" or "log"."""
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

    def tell(news: BuildEvent) -> None:
        with lock:
            pipe.send(news)

    try:
        tell(BuildEvent("built", built=build(load_flavour(order.flavour), order, tell)))
    except OSError as error:
        tell(BuildEvent("unwritable", error.strerror or str(error)))
    except (FxsrError, ImportError, TypeError, RuntimeError) as error:
        tell(BuildEvent("failed", str(error)))


def build(trt: Any, order: BuildRequest, tell: Callable[[BuildEvent], None]) -> EngineBuild:
    """Build an engine and write it to `order.plan`.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        order: what to build.
        tell: hears of phases and of the builder's log; called from the builder's threads too.

    Raises:
        ModelFileError: the ONNX file or the profiles don't suit the builder; says what its first error was.
        OSError: the engine can't be written.
    """
    begin = time.perf_counter()
    log = make_log(trt, lambda severity, message: tell(BuildEvent("log", f"{severity}: {message}")))
    builder = trt.Builder(log)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # TensorRT 10 does not by itself
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(order.onnx)):
        fault = parser.get_error(0)
        raise ModelFileError(f"{order.onnx}: the parser refuses it ({fault.node_name() or 'the file'}: {fault.desc()})")
    config = builder.create_builder_config()
    _configure(trt, config, order)
    config.progress_monitor = _monitor(trt, tell)
    for profile in order.profiles:
        shapes = builder.create_optimization_profile()
        for name, sizes in profile.inputs.items():
            shapes.set_shape(name, sizes.min, sizes.opt, sizes.max)
        if config.add_optimization_profile(shapes) < 0:
            raise ModelFileError(f"{order.onnx}: profile {profile.name} is refused ({log.first_error()})")
    cache = _load_timing_cache(config, order)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelFileError(f"{order.onnx}: the builder gave up: {log.first_error()}")
    with order.plan.open("wb") as file:
        file.write(plan)
    if cache is not None:
        _save_timing_cache(config, order)
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    activation = [*_numbers(log, _ACTIVATION), *[None] * len(order.profiles)][: len(order.profiles)]
    return EngineBuild(
        tensors={tensor.name: type_name(tensor.dtype) for tensor in tensors},
        activation_bytes=tuple(activation),
        weight_bytes=next(iter(_numbers(log, _WEIGHTS)), None),
        seconds=time.perf_counter() - begin,
    )


def _configure(trt: Any, config: Any, order: BuildRequest) -> None:
    options, flag = order.options, trt.BuilderFlag
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
    if resize is not None:  # or contexts take the memory of the largest shapes
        config.set_preview_feature(resize, True)
    if order.flavour == "tensorrt":
        if options.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        return
    # Without it a large engine allocates while it runs: the builder's figure is then too small, and CUDA graphs fail.
    config.set_flag(flag.REQUIRE_USER_ALLOCATION)
    config.num_compute_capabilities = len(options.compute_capabilities)
    for index, capability in enumerate(options.compute_capabilities):
        member = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
        if member is None or not config.set_compute_capability(member, index):
            raise ModelFileError(f"TensorRT-RTX {trt.__version__} does not build for compute capability {capability}")


def _load_timing_cache(config: Any, order: BuildRequest) -> Any:
    if order.flavour != "tensorrt" or order.timing_cache is None:
        return None
    known = order.timing_cache.read_bytes() if order.timing_cache.is_file() else b""
    cache = config.create_timing_cache(known)
    if not config.set_timing_cache(cache, ignore_mismatch=False):  # another GPU's or version's
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _save_timing_cache(config: Any, order: BuildRequest) -> None:
    from fxsr.files import atomic_path

    assert order.timing_cache is not None
    with atomic_path(order.timing_cache) as temporary:
        temporary.write_bytes(config.get_timing_cache().serialize())


def _numbers(log: Log, pattern: re.Pattern[str]) -> list[int]:
    return [int(found[1]) for found in map(pattern.search, log.lines) if found]


def _monitor(trt: Any, tell: Callable[[BuildEvent], None]) -> Any:
    class ProgressMonitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            tell(BuildEvent("phase", name))

        def step_complete(self, name: str, step: int) -> bool:
            return True

        def phase_finish(self, name: str) -> None:
            pass

    return ProgressMonitor()
