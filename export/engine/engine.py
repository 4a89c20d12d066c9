"""From an ONNX file to a TensorRT engine.

Which flavour of TensorRT builds it, what that flavour or this machine can't do (said before anything is begun), and the
process that builds, see `fxsr.export.engine.builder`.
"""

from __future__ import annotations

import errno
import importlib.metadata
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import platformdirs

from fxsr.errors import ModelFileError, UnavailableError, UsageError, install_line
from fxsr.export.engine.builder import BuildEvent, BuildRequest, EngineBuild, serve
from fxsr.export.engine.profiles import engine_profiles
from fxsr.export.engine.request import EngineRequest
from fxsr.files import atomic_path, sha256
from fxsr.models.manifest import BuildOptions, EngineFacts, FileFacts, Flavour, ModelFacts
from fxsr.runtime.backends.tensorrt.engine_file import EXTRAS
from fxsr.runtime.machine.gpu import Gpu, find_gpus

SUFFIXES: dict[Flavour, str] = {"tensorrt": ".plan", "tensorrt-rtx": ".rtx.plan"}
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX builds for without a GPU (1.7; table in docs/engines.md)."""


def choose_flavour(wanted: str) -> Flavour | None:
    """What `--engine` means on this machine.

    Args:
        wanted: "auto", "none", "tensorrt" or "tensorrt-rtx".

    Returns:
        None: build none, as "none" says, or as "auto" finds nothing to build with.

    Raises:
        UnavailableError: a flavour was asked for that can't build here.
    """
    if wanted == "none":
        return None
    if wanted == "auto":
        return next((flavour for flavour in EXTRAS if _obstacle(flavour) is None), None)
    flavour: Flavour = "tensorrt" if wanted == "tensorrt" else "tensorrt-rtx"
    if obstacle := _obstacle(flavour):
        raise UnavailableError(f"--engine {flavour}: {obstacle}")
    return flavour


def why_none() -> str:
    """What `choose_flavour("auto")` lacked, and how to get it: for the user."""
    return "; ".join(f"{flavour}: {_obstacle(flavour)}" for flavour in EXTRAS)


def builder_version(flavour: Flavour) -> str:
    """Version of the installed builder.

    Raises:
        UnavailableError: it is not installed.
    """
    if (version := _version(flavour)) is None:
        raise UnavailableError(_install(flavour))
    return version


def default_timing_cache(flavour: Flavour) -> Path | None:
    """Where timings of this machine's builds are kept: in the user's cache folder. None: the flavour keeps none."""
    gpu = _gpu(flavour)
    if gpu is None:
        return None
    name = f"{flavour}-{builder_version(flavour)}-{gpu.name}-{gpu.driver}".replace(" ", "-")
    return platformdirs.user_cache_path("fxsr") / "timing" / f"{name}.cache"


def check_options(flavour: Flavour, options: BuildOptions, timing_cache: bool) -> None:
    """Refuse what this flavour, or this machine, can't do.

    Args:
        flavour: what is to build.
        options: what it is asked for.
        timing_cache: whether a timing cache was asked for.

    Raises:
        UsageError: the flavour never does that.
        UnavailableError: it would need a GPU for that.
    """
    if options.opt_level is not None and not 0 <= options.opt_level <= 5:
        raise UsageError(f"--opt-level {options.opt_level}: it must be 0 to 5")
    if options.workspace_mb is not None and options.workspace_mb < 1:
        raise UsageError(f"--workspace {options.workspace_mb}: it must be 1 MB or more")
    if flavour == "tensorrt":
        if options.compute_capabilities:
            raise UsageError(
                "--compute-capability: TensorRT builds for the GPU at hand; --hardware-compatible makes the engine run "
                "on others of compute capability 8.0 and newer, --engine tensorrt-rtx builds for chosen ones"
            )
        return
    if options.version_compatible:
        raise UsageError("--version-compatible: a TensorRT-RTX engine belongs to one release; keep the .onnx file")
    if options.hardware_compatible:
        raise UsageError("--hardware-compatible: TensorRT-RTX engines are; --compute-capability narrows them")
    if timing_cache:
        raise UsageError("--timing-cache: TensorRT-RTX times nothing while it builds, there is nothing to keep")
    if wrong := [each for each in options.compute_capabilities if each not in RTX_CAPABILITIES]:
        raise UsageError(
            f"--compute-capability {wrong[0]}: TensorRT-RTX builds for {', '.join(RTX_CAPABILITIES)}; "
            f"for others build with TensorRT on such a GPU"
        )
    if (options.strip_weights or options.refit) and not find_gpus():
        raise UnavailableError(
            "--strip-weights and --refit: TensorRT-RTX needs a GPU and its driver to build such an engine"
        )


def build_engine(
    onnx: Path, model: ModelFacts, request: EngineRequest, tell: Callable[[BuildEvent], None] = lambda news: None
) -> EngineFacts:
    """Build an engine beside an ONNX file, whole or not at all.

    An exception that is raised meanwhile, such as a signal handler's, stops the builder at once.

    Args:
        onnx: what to build from.
        model: what that computes.
        request: see `check_options` for its options.
        tell: hears of phases, and of every line that the builder logs.

    Raises:
        ModelFileError: the builder refuses, or changes types; says why.
        FxsrError: the engine can't be written.
    """
    flavour = request.flavour
    profiles = engine_profiles(model, request.tiles)
    target = onnx.with_name(onnx.stem + SUFFIXES[flavour])
    with atomic_path(target) as temporary:
        built = _run(BuildRequest(flavour, onnx, temporary, profiles, request.options, request.timing_cache), tell)
        for tensor in (*model.inputs, *model.outputs):
            if (found := built.tensors.get(tensor.name)) != tensor.dtype:
                raise ModelFileError(
                    f"{target}: {tensor.name} would be {found}, not {tensor.dtype}; nothing is written"
                )
        file = FileFacts(target.name, sha256(temporary), temporary.stat().st_size)
    gpu = _gpu(flavour)
    return EngineFacts(
        file=file,
        flavour=flavour,
        builder_version=builder_version(flavour),
        profiles=tuple(
            replace(profile, activation_bytes=size)
            for profile, size in zip(profiles, built.activation_bytes, strict=True)
        ),
        tensors=built.tensors,
        options=request.options,
        onnx_sha256=sha256(onnx),
        weight_bytes=built.weight_bytes,
        gpu=gpu.name if gpu else None,
        driver=gpu.driver if gpu else None,
        seconds=round(built.seconds, 1),
    )


def target_gpu(flavour: Flavour) -> str | None:
    """The GPU that an engine built now would be for; None: TensorRT-RTX, which builds for many."""
    gpu = _gpu(flavour)
    return gpu.name if gpu else None


def _gpu(flavour: Flavour) -> Gpu | None:
    return next(iter(find_gpus()), None) if flavour == "tensorrt" else None


def _run(order: BuildRequest, tell: Callable[[BuildEvent], None]) -> EngineBuild:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(order, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            news: BuildEvent = ours.recv()
            if news.built:
                return news.built
            if news.kind == "failed":
                raise ModelFileError(news.text)
            if news.kind == "unwritable":
                raise OSError(errno.EIO, news.text)
            tell(news)
    except EOFError:
        process.join()
        raise ModelFileError(
            f"{order.onnx}: the builder's process died (exit status {process.exitcode}); is there enough memory?"
        ) from None
    finally:
        process.kill()
        process.join()


def _obstacle(flavour: Flavour) -> str | None:
    if _version(flavour) is None:
        return _install(flavour)
    if flavour == "tensorrt" and not find_gpus():
        return "it builds on the GPU that the engine is for, and there is none here; --engine tensorrt-rtx needs none"
    return None


def _version(flavour: Flavour) -> str | None:
    """Of the installed package, which may be called after a version of CUDA; does not import it."""
    for name in (flavour, f"{flavour}-cu13", f"{flavour}-cu12"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _install(flavour: Flavour) -> str:
    return f"{flavour} is not installed; type in the clone of FxSR: {install_line(EXTRAS[flavour])}"
