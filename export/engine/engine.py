"""Builds a TensorRT engine from an ONNX file.

This module chooses the flavour of TensorRT, refuses what that flavour or this machine can't do before any work begins,
and runs the builder's process; see `fxsr.export.engine.builder`.
"""

from __future__ import annotations

import errno
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import platformdirs

from fxsr.errors import ModelFileError, UnavailableError, UsageError, install_line
from fxsr.export.engine.builder import BuildEvent, BuildRequest, EngineBuild, serve
from fxsr.export.engine.profiles import engine_profiles
from fxsr.export.engine.request import EngineRequest
from fxsr.extras import installed_version
from fxsr.files import atomic_path, sha256
from fxsr.models.file import engine_ending
from fxsr.models.manifest import BuildOptions, EngineFacts, FileFacts, Flavour, Manifest
from fxsr.runtime.backends.tensorrt.capabilities import RTX_TARGETS, rtx_gpus, rtx_runs_on
from fxsr.runtime.backends.tensorrt.engine_file import EXTRAS
from fxsr.runtime.machine.gpu import Gpu, find_gpus

_MAX_WORKSPACE = 1_000_000
"""MB."""


def choose_flavour(wanted: str) -> Flavour | None:
    """The flavour that `--engine` selects on this machine.

    Args:
        wanted: "auto", "none", "tensorrt" or "tensorrt-rtx".

    Returns:
        None: build no engine, because of "none", or because "auto" finds no builder.

    Raises:
        UnavailableError: the flavour can't build on this machine.
    """
    if wanted == "none":
        return None
    if wanted == "auto":
        return next((flavour for flavour in EXTRAS if not (_obstacle(flavour) or why_unfit(flavour))), None)
    flavour: Flavour = "tensorrt" if wanted == "tensorrt" else "tensorrt-rtx"
    if obstacle := _obstacle(flavour):
        raise UnavailableError(f"--engine {flavour}: {obstacle}")
    return flavour


def why_none() -> str:
    """A message that says what `choose_flavour("auto")` lacked, and how to get it."""
    return "; ".join(f"{flavour}: {_obstacle(flavour) or why_unfit(flavour)}" for flavour in EXTRAS)


def builder_version(flavour: Flavour) -> str:
    """Version of the installed builder.

    Raises:
        UnavailableError: the builder is not installed.
    """
    if (version := installed_version(flavour)) is None:
        raise UnavailableError(_install(flavour))
    return version


def default_timing_cache(flavour: Flavour) -> Path | None:
    """File for the timings of this machine's builds, in the user's cache folder. None: the flavour has no timings."""
    gpu = _gpu(flavour)
    if gpu is None:
        return None
    name = f"{flavour}-{builder_version(flavour)}-{gpu.name}-{gpu.driver}".replace(" ", "-")
    return platformdirs.user_cache_path("fxsr") / "timing" / f"{name}.cache"


def check_options(flavour: Flavour, options: BuildOptions, timing_cache: bool) -> None:
    """Refuse what this flavour, or this machine, can't do.

    Args:
        flavour: the builder.
        options: the options of the build.
        timing_cache: whether the user named a timing cache.

    Raises:
        UsageError: the flavour does not support an option.
        UnavailableError: an option needs a GPU.
    """
    if options.opt_level is not None and not 0 <= options.opt_level <= 5:
        raise UsageError(f"--opt-level {options.opt_level}: it must be 0 to 5")
    if options.workspace_mb is not None and not 1 <= options.workspace_mb <= _MAX_WORKSPACE:
        raise UsageError(f"--workspace {options.workspace_mb}: it must be 1 to {_MAX_WORKSPACE} MB")
    if flavour == "tensorrt":
        if options.compute_capabilities:
            raise UsageError(
                "--compute-capability: TensorRT builds for this machine's GPU; --hardware-compatible makes the engine "
                "run on all GPUs of compute capability 8.0 and newer, --engine tensorrt-rtx builds for chosen ones"
            )
        return
    if options.version_compatible:
        raise UsageError("--version-compatible: a TensorRT-RTX engine belongs to one release; keep the .onnx file")
    if options.hardware_compatible:
        raise UsageError("--hardware-compatible: TensorRT-RTX engines always are; --compute-capability restricts them")
    if timing_cache:
        raise UsageError(
            "--timing-cache: TensorRT-RTX does not measure kernels while it builds, so it has no timings to keep"
        )
    if wrong := [each for each in options.compute_capabilities if each not in RTX_TARGETS]:
        raise UsageError(
            f"--compute-capability {wrong[0]}: TensorRT-RTX builds for {', '.join(RTX_TARGETS)}; "
            f"for other GPUs, build with TensorRT on such a GPU"
        )
    if (options.strip_weights or options.refit) and not find_gpus():
        raise UnavailableError(
            "--strip-weights and --refit: TensorRT-RTX needs a GPU and its driver to build such an engine"
        )


def build_engine(
    onnx: Path,
    manifest: Manifest,
    request: EngineRequest,
    on_event: Callable[[BuildEvent], None] = lambda event: None,
) -> EngineFacts:
    """Build an engine next to an ONNX file. The engine appears as a whole or not at all.

    An exception that is raised meanwhile, such as a signal handler's, stops the builder at once.

    Args:
        onnx: the file to build from.
        manifest: its manifest.
        request: which engine to build; see `check_options` for its options.
        on_event: called at the beginning of each phase, and with every message that the builder logs.

    Raises:
        ModelFileError: the builder fails, or changes a tensor's type; the message says why.
        FxsrError: the engine can't be written.
    """
    flavour, model = request.flavour, manifest.model
    profiles = engine_profiles(model, request.tiles)
    target = onnx.with_name(onnx.stem + engine_ending(flavour))
    with atomic_path(target) as temporary:
        build = _run(BuildRequest(flavour, onnx, temporary, profiles, request.options, request.timing_cache), on_event)
        for tensor in (*model.inputs, *model.outputs):
            if (found := build.tensors.get(tensor.name)) != tensor.dtype:
                raise ModelFileError(
                    f"{target}: {tensor.name} would be {found}, not {tensor.dtype}; nothing was written"
                )
        file = FileFacts(target.name, sha256(temporary), temporary.stat().st_size)
    gpu = _gpu(flavour)
    return EngineFacts(
        file=file,
        flavour=flavour,
        builder_version=builder_version(flavour),
        profiles=tuple(
            replace(profile, activation_bytes=size)
            for profile, size in zip(profiles, build.activation_bytes, strict=True)
        ),
        tensors=build.tensors,
        options=request.options,
        onnx_sha256=manifest.onnx.sha256,
        weight_bytes=build.weight_bytes,
        gpu=gpu.name if gpu else None,
        driver=gpu.driver if gpu else None,
        seconds=round(build.seconds, 1),
    )


def target_gpu(flavour: Flavour) -> str | None:
    """Name of the GPU that an engine built now would be for. None: TensorRT-RTX builds for many."""
    gpu = _gpu(flavour)
    return gpu.name if gpu else None


def _gpu(flavour: Flavour) -> Gpu | None:
    return next(iter(find_gpus()), None) if flavour == "tensorrt" else None


def _run(request: BuildRequest, on_event: Callable[[BuildEvent], None]) -> EngineBuild:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(request, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            event: BuildEvent = ours.recv()
            if event.build:
                return event.build
            if event.kind == "failed":
                raise ModelFileError(event.text)
            if event.kind == "unwritable":
                raise OSError(errno.EIO, event.text)
            on_event(event)
    except EOFError:
        process.join()
        raise ModelFileError(
            f"{request.onnx}: the builder's process died (exit status {process.exitcode}); is there enough memory?"
        ) from None
    finally:
        process.kill()
        process.join()


def _obstacle(flavour: Flavour) -> str | None:
    """Why this flavour can't build on this machine. None: it can."""
    if installed_version(flavour) is None:
        return _install(flavour)
    if flavour == "tensorrt" and not find_gpus():
        return (
            "it builds on the GPU that the engine is for, and this machine has none; --engine tensorrt-rtx needs none"
        )
    return None


def why_unfit(flavour: Flavour) -> str | None:
    """Why an engine of this flavour would not run on this machine's GPU. None: it would, or there is no GPU."""
    version, gpu = installed_version(flavour), next(iter(find_gpus()), None)
    if flavour == "tensorrt" or version is None or gpu is None or rtx_runs_on(version, gpu.compute_capability):
        return None
    return (
        f"its engines run on compute capability {rtx_gpus(version)}, but {gpu.name} has {gpu.compute_capability}; "
        "--engine tensorrt-rtx builds one for other GPUs"
    )


def _install(flavour: Flavour) -> str:
    return f"{flavour} is not installed; type in the clone of FxSR: {install_line(EXTRAS[flavour])}"
