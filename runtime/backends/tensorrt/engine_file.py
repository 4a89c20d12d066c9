"""May an engine file be loaded here? Asked before anything is deserialised: an engine is code that runs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fxsr.errors import DeviceError, ModelFileError
from fxsr.extras import needs
from fxsr.models.manifest import EngineFacts, Flavour, Manifest, is_intact, read_manifest
from fxsr.runtime.backends.tensorrt.library import runtime_log
from fxsr.runtime.machine.gpu import Gpu

ENGINES = (".plan", ".engine")
EXTRAS: dict[Flavour, str] = {"tensorrt": "gpu", "tensorrt-rtx": "rtx"}
"""What brings each flavour."""
_INVALID = 2  # EngineValidity.INVALID
_ELSEWHERE = 2 | 4 | 8 | 16
"""Diagnostics of the machine rather than of the file."""
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
    """An engine on disk with what its manifest says."""

    path: Path
    manifest: Manifest
    facts: EngineFacts


def manifest_path(engine: Path) -> Path:
    """Where the manifest of an engine is: `NAME.json` beside `NAME.plan`, `NAME.rtx.plan`."""
    return engine.with_name(f"{engine.name.removesuffix(engine.suffix).removesuffix('.rtx')}.json")


def read_engine(path: Path) -> EngineFile:
    """Find what the manifest beside an engine says of it, and whether the file is still that one.

    Raises:
        ModelFileError: there is no manifest, it does not speak of this file, or the file is another one now.
    """
    beside = manifest_path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    if not beside.is_file():
        raise ModelFileError(
            f"{path}: its manifest {beside.name} is not beside it, so nothing says what it is; engines are code: load "
            f"it with --trust if you know where it comes from"
        )
    manifest = read_manifest(beside)
    facts = next((engine for engine in manifest.engines if engine.file.file == path.name), None)
    if facts is None:
        raise ModelFileError(f"{path}: {beside.name} does not speak of it; export it again")
    if not is_intact(path.parent, facts.file):
        raise ModelFileError(
            f"{path}: {path.stat().st_size} bytes that are not those in {beside.name} ({facts.file.bytes} bytes, "
            f"sha256 {facts.file.sha256[:12]}...): damaged or exchanged; export it again"
        )
    return EngineFile(path, manifest, facts)


def check_runnable(engine: EngineFile, trt: Any, gpu: Gpu | None) -> None:
    """Whether this runtime on this GPU can run an engine.

    Args:
        engine: what to run.
        trt: the module of the engine's flavour.
        gpu: the GPU to run on; None: there is none.

    Raises:
        DeviceError: there is no GPU, it is another kind, or its driver is too old.
        ModelFileError: the runtime is of another version.
    """
    path, facts = engine.path, engine.facts
    built, here = facts.builder_version, trt.__version__
    compatible = facts.options.version_compatible and _release(built) <= _release(here)
    if built != here and not compatible:
        raise ModelFileError(
            f"{path}: built by {facts.flavour} {built}, here is {here}; export it again, or install that version"
        )
    if gpu is None:
        raise DeviceError(f"{path}: an engine needs an NVIDIA GPU, and there is none here; the .onnx file needs none")
    if facts.flavour == "tensorrt" and facts.gpu != gpu.name and not facts.options.hardware_compatible:
        raise DeviceError(f"{path}: built for {facts.gpu}, here is {gpu.name}; export it again on this machine")
    if facts.flavour == "tensorrt-rtx":
        _check_capability(path, facts.options.compute_capabilities, gpu)
        _ask_runtime(path, trt)


def flavour_of(path: Path) -> Flavour:
    """What built an engine, by the ending of its name."""
    return "tensorrt-rtx" if path.name.removesuffix(path.suffix).endswith(".rtx") else "tensorrt"


def load_flavour(flavour: Flavour) -> Any:
    """The module of a flavour.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs(EXTRAS[flavour]):
        return importlib.import_module(flavour.replace("-", "_"))


def _check_capability(path: Path, built_for: tuple[str, ...], gpu: Gpu) -> None:
    here = _release(gpu.compute_capability)
    fits = gpu.compute_capability in built_for if built_for else here >= (8, 0)
    if not fits:
        wanted = ", ".join(built_for) or "8.0 and newer"
        raise DeviceError(
            f"{path}: built for compute capability {wanted}, {gpu.name} has {gpu.compute_capability}; "
            f"export it again with --compute-capability {gpu.compute_capability}"
        )


def _ask_runtime(path: Path, trt: Any) -> None:
    """TensorRT-RTX can look at an engine's head without loading it."""
    runtime = trt.Runtime(runtime_log(trt))
    with path.open("rb") as file:
        verdict, bits = runtime.get_engine_validity(file.read(runtime.engine_header_size))
    if int(verdict) == _INVALID and bits:
        reasons = ", ".join(text for bit, text in _DIAGNOSTICS.items() if bits & bit)
        kind = DeviceError if bits & _ELSEWHERE else ModelFileError
        raise kind(f"{path}: TensorRT-RTX can't run it here ({reasons or f'diagnostics {bits}'})")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
