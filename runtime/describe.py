"""Describes model files and this machine, as names and values. Prints nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from typing import Any

import msgspec

import fxsr
from fxsr.errors import install_line
from fxsr.extras import installed_version
from fxsr.models.bundled import bundled_models
from fxsr.models.checkpoint import load_checkpoint
from fxsr.models.file import ModelFileKind, find_model
from fxsr.models.manifest import EngineFacts, ModelFacts, Profile, ShapeRange, Verification, read_manifest
from fxsr.runtime.backends.providers import import_onnxruntime
from fxsr.runtime.backends.tensorrt.capabilities import rtx_gpus, rtx_runs_on
from fxsr.runtime.backends.tensorrt.engine_file import read_engine
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.machine.gpu import find_gpus

_PACKAGES = {
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "tensorrt": "gpu",
    "tensorrt-rtx": "rtx",
    "cuda-python": "gpu",
    "nvidia-ml-py": "gpu",
    "pycuda": "pycuda",
    "OpenEXR": "exr",
    "torch": "export",
    "onnx": "export",
    "polygraphy": "export",
    "accelerate": "train",
    "matplotlib": "plot",
    "av": "video",
}
"""Optional packages, and the extra that installs each."""


_NAMES = {
    ModelFileKind.ONNX: "ONNX graph of fxsr",
    ModelFileKind.MANIFEST: "manifest of fxsr",
    ModelFileKind.ENGINE: "TensorRT engine of fxsr",
    ModelFileKind.CHECKPOINT: "FxSR checkpoint",
}


def describe(file: str) -> dict[str, Any]:
    """Describe a model file.

    Args:
        file: a checkpoint, an ONNX file, an engine, a manifest, or a bundled model's name.

    Returns:
        Names and values, for printing.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        CheckpointError, ModelFileError: the file is damaged.
    """
    found = find_model(file, *_NAMES)
    path, kind = found.path, found.kind
    head = {"file": str(path), "bytes": path.stat().st_size, "kind": _NAMES[kind]}
    if kind is ModelFileKind.ONNX:
        from fxsr.runtime.backends.onnxruntime import read_facts

        return head | _facts(read_facts(path))
    if kind is ModelFileKind.MANIFEST:
        manifest = read_manifest(path)
        onnx = f"{manifest.onnx.file}, {manifest.onnx.bytes} bytes, sha256 {manifest.onnx.sha256}"
        engines = {engine.file.file: _summary(engine) for engine in manifest.engines}
        own = {"onnx": onnx, "verification of its graph": _verdict(manifest.verification)}
        return head | _facts(manifest.model) | own | engines
    if kind is ModelFileKind.ENGINE:
        engine = read_engine(path)
        graph = {"verification of its graph": _verdict(engine.manifest.verification)}
        return head | graph | _facts(engine.manifest.model) | _engine(engine.facts)
    checkpoint = load_checkpoint(path)
    return (
        head
        | vars(checkpoint.about)
        | vars(checkpoint.config)
        | {"parameters": checkpoint.config.parameters, "sha256": checkpoint.digest}
        | ({"training": json.loads(checkpoint.training)} if checkpoint.training else {})
    )


def examine_machine() -> dict[str, Any]:
    """What this machine supports, and how to install what is missing."""
    found: dict[str, Any] = {
        "fxsr": fxsr.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus usable": f"{available_cpus()} of {os.cpu_count()}",
    }
    for package, extra in _PACKAGES.items():
        found[package] = installed_version(package) or f"not installed; {install_line(extra)}"
    if not any(str(found[package]).startswith("not") for package in ("onnxruntime", "onnxruntime-gpu")):
        found["beware"] = (
            "both ONNX Runtime packages are installed, and they conflict; "
            "type: pip uninstall onnxruntime onnxruntime-gpu, then install one of them"
        )
    if importlib.util.find_spec("onnxruntime"):
        found["onnxruntime providers"] = ", ".join(import_onnxruntime().get_available_providers())
    gpus = find_gpus()
    for index, gpu in enumerate(gpus):
        memory = f"{gpu.memory_mb / 1024:.0f} GiB"
        rtx = str(found["tensorrt-rtx"])
        if rtx[:1].isdigit() and not rtx_runs_on(rtx, gpu.compute_capability):
            found[f"tensorrt-rtx on gpu {index}"] = f"engines don't run: they need compute capability {rtx_gpus(rtx)}"
        found[f"gpu {index}"] = f"{gpu.name}, compute capability {gpu.compute_capability}, {memory}"
    found["nvidia driver"] = gpus[0].driver if gpus else "none found; engines can't run on this machine"
    found["cuda"] = _cuda()
    found["bundled models"] = ", ".join(bundled_models())
    return found


def _cuda() -> str:
    """The versions of CUDA that the driver and the bindings support."""
    if importlib.util.find_spec("cuda") is None:
        return f"unknown without cuda-python; {install_line('gpu')}"
    from cuda.bindings import runtime

    _, driver = runtime.cudaDriverGetVersion()
    _, bindings = runtime.cudaRuntimeGetVersion()
    offered, bound = (f"{version // 1000}.{version % 1000 // 10}" for version in (driver, bindings))
    return f"{offered} by the driver, bindings of {bound}" if driver else f"no driver; bindings of {bound}"


def _facts(facts: ModelFacts) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(facts)
    config = values.pop("config")
    for side in ("inputs", "outputs"):
        values[side] = "; ".join(f"{each['name']} {each['dtype']} {tuple(each['shape'])}" for each in values[side])
    values["rewrites"] = ", ".join(values["rewrites"]) or "none"
    return {"name": values.pop("name"), **config, **values}


def _engine(engine: EngineFacts) -> dict[str, Any]:
    """An engine's facts, with one entry for each profile."""
    values: dict[str, Any] = msgspec.to_builtins(engine)
    for name in ("file", "verification", "profiles", "options", "tensors"):
        values.pop(name)
    options = {name: value for name, value in vars(engine.options).items() if value}
    return values | {
        "sha256": engine.file.sha256,
        "engine tensors": ", ".join(f"{name} {dtype}" for name, dtype in engine.tensors.items()),
        "build options": ", ".join(f"{name} {value}" for name, value in options.items()) or "none",
        "engine verification": _verdict(engine.verification),
        **{f"profile {profile.name}": _profile(profile) for profile in engine.profiles},
    }


def _summary(engine: EngineFacts) -> str:
    memory = ", ".join(f"{profile.name}{_memory(profile)}" for profile in engine.profiles)
    verdict = "not run" if engine.verification is None else _verdict(engine.verification)
    return f"{engine.flavour} {engine.builder_version}, {engine.file.bytes} bytes ({memory}); verification {verdict}"


def _memory(profile: Profile) -> str:
    return "" if profile.activation_bytes is None else f" {profile.activation_bytes / 1e6:.0f} MB of activations"


def _profile(profile: Profile) -> str:
    def span(sizes: ShapeRange) -> str:
        steps = dict.fromkeys("x".join(map(str, shape)) for shape in (sizes.min, sizes.opt, sizes.max))
        return "..".join(steps)

    shapes = ", ".join(f"{name} {span(sizes)}" for name, sizes in profile.inputs.items())
    return f"{shapes};{_memory(profile)}" if _memory(profile) else shapes


def _verdict(verification: Verification | None) -> str:
    return "not done" if verification is None else "passed" if verification.passed else "FAILED"
