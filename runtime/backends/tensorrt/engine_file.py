"""Checks whether an engine file may be loaded here, before it is deserialised: an engine is executable code."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fxsr.errors import DeviceError, ModelFileError
from fxsr.extras import needs
from fxsr.models.file import manifest_path
from fxsr.models.manifest import EngineFacts, Flavour, Manifest, is_intact, read_manifest
from fxsr.runtime.backends.tensorrt.capabilities import RTX_TARGETS, numbers, rtx_gpus, rtx_runs_on
from fxsr.runtime.backends.tensorrt.library import runtime_log
from fxsr.runtime.machine.gpu import Gpu

EXTRAS: dict[Flavour, str] = {"tensorrt": "gpu", "tensorrt-rtx": "rtx"}
"""The extra that installs each flavour."""
_INVALID = 2  # EngineValidity.INVALID
_ELSEWHERE = 2 | 4 | 8 | 16
"""Diagnostics that concern the machine, not the file."""
_DIAGNOSTICS = {
    1: "it is of another version of TensorRT-RTX",
    2: "it is not for this GPU",
    4: "the driver is too old",
    8: "the CUDA runtime is too old",
    16: "the GPU has too little memory",
    32: "the file is not an engine, or damaged",
    64: "CUDA reports an error",
}


@dataclass(frozen=True)
class EngineFile:
    """An engine on disk, and what its manifest says about it."""

    path: Path
    manifest: Manifest
    facts: EngineFacts


def read_engine(path: Path) -> EngineFile:
    """Read an engine's manifest, and check that the file is the one that it describes.

    Raises:
        ModelFileError: there is no manifest, it does not list this file, or the file has changed.
    """
    manifest_file = manifest_path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    if not manifest_file.is_file():
        raise ModelFileError(
            f"{path}: its manifest {manifest_file.name} is not next to it; engines are executable code: load it with "
            f"--trust if you know where it comes from"
        )
    manifest = read_manifest(manifest_file)
    facts = next((engine for engine in manifest.engines if engine.file.file == path.name), None)
    if facts is None:
        raise ModelFileError(f"{path}: {manifest_file.name} does not list it; export it again")
    if not is_intact(path.parent, facts.file):
        raise ModelFileError(
            f"{path}: damaged or replaced: {manifest_file.name} describes {facts.file.bytes} bytes with sha256 "
            f"{facts.file.sha256[:12]}..., not this file of {path.stat().st_size} bytes; export it again"
        )
    return EngineFile(path, manifest, facts)


def check_runnable(engine: EngineFile, trt: Any, gpu: Gpu | None) -> None:
    """Check that this runtime can run an engine on this GPU.

    Args:
        engine: the engine to run.
        trt: the module `tensorrt` or `tensorrt_rtx`, as the engine's flavour says.
        gpu: the GPU to run on; None: there is none.

    Raises:
        DeviceError: there is no GPU, the engine is for another one, or its driver is too old.
        ModelFileError: the runtime has another version.
    """
    path, facts = engine.path, engine.facts
    built, here = facts.builder_version, trt.__version__
    compatible = facts.options.version_compatible and numbers(built) <= numbers(here)
    if built != here and not compatible:
        raise ModelFileError(
            f"{path}: built by {facts.flavour} {built}, but {here} is installed; export it again, or install {built}"
        )
    if gpu is None:
        raise DeviceError(
            f"{path}: an engine needs an NVIDIA GPU, and this machine has none; the .onnx file runs without"
        )
    if facts.flavour == "tensorrt" and facts.gpu != gpu.name and not facts.options.hardware_compatible:
        raise DeviceError(f"{path}: built for {facts.gpu}, but this GPU is {gpu.name}; export it again on this machine")
    if facts.flavour == "tensorrt-rtx":
        _check_capability(path, facts, gpu)
        _ask_runtime(path, trt)


def load_flavour(flavour: Flavour) -> Any:
    """Import `tensorrt` or `tensorrt_rtx`.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs(EXTRAS[flavour]):
        return importlib.import_module(flavour.replace("-", "_"))


def _check_capability(path: Path, facts: EngineFacts, gpu: Gpu) -> None:
    """Check that a TensorRT-RTX engine was built for a GPU."""
    built_for, here = facts.options.compute_capabilities, gpu.compute_capability
    if here in built_for if built_for else rtx_runs_on(facts.builder_version, here):
        return
    wanted = ", ".join(built_for) or rtx_gpus(facts.builder_version)
    cure = "run the .onnx file, or export it again with --engine tensorrt on this machine"
    if here in RTX_TARGETS:
        cure = f"export it again with --compute-capability {here}"
    raise DeviceError(f"{path}: built for compute capability {wanted}, but {gpu.name} has {here}; {cure}")


def _ask_runtime(path: Path, trt: Any) -> None:
    """Let TensorRT-RTX check the engine's header, without loading the engine."""
    runtime = trt.Runtime(runtime_log(trt))
    with path.open("rb") as file:
        verdict, bits = runtime.get_engine_validity(file.read(runtime.engine_header_size))
    if int(verdict) == _INVALID and bits:
        reasons = ", ".join(text for bit, text in _DIAGNOSTICS.items() if bits & bit)
        kind = DeviceError if bits & _ELSEWHERE else ModelFileError
        raise kind(f"{path}: TensorRT-RTX can't run it here ({reasons or f'diagnostics {bits}'})")
