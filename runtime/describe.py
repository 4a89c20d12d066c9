"""What a file is, and what this machine can do, as names and values. Prints nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import msgspec

import fxsr
from fxsr.checkpoint import load_checkpoint
from fxsr.errors import UsageError
from fxsr.manifest import ModelFacts, read_manifest
from fxsr.runtime.session import CHECKPOINTS, Device, available_cpus
from fxsr.weights import bundled_models, model_path

_PACKAGES = {
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "tensorrt": "gpu",
    "tensorrt-rtx": "rtx",
    "torch": "export",
    "onnx": "export",
    "accelerate": "train",
}
"""Packages that make a difference, and the extra that brings each."""


def describe(file: str) -> dict[str, Any]:
    """Names and values that say what a model file is.

    Args:
        file: a checkpoint, an ONNX file, a manifest, or a bundled model's name.

    Raises:
        UsageError: no such file, or of no kind that is known here.
        CheckpointError, ModelFileError: it is damaged.
    """
    path = model_path(file, ".onnx")
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UsageError(f"{path}: a folder; give a file")
    head = {"file": str(path), "bytes": path.stat().st_size}
    if suffix == ".onnx":
        from fxsr.runtime.ort import OrtSession

        with OrtSession(path, Device("cpu")) as session:
            return head | {"kind": "ONNX graph of fxsr"} | _facts(session.facts)
    if suffix == ".json":
        manifest = read_manifest(path)
        verification = manifest.verification
        verdict = "not done" if verification is None else "passed" if verification.passed else "FAILED"
        onnx = f"{manifest.onnx.file}, {manifest.onnx.bytes} bytes, sha256 {manifest.onnx.sha256}"
        return head | {"kind": "manifest of fxsr"} | _facts(manifest.model) | {"onnx": onnx, "verification": verdict}
    if suffix in CHECKPOINTS:
        checkpoint = load_checkpoint(path)
        config = vars(checkpoint.config)
        about = vars(checkpoint.about)
        return (
            head
            | {"kind": "FxSR checkpoint"}
            | about
            | config
            | {"parameters": checkpoint.config.parameters, "sha256": checkpoint.digest}
            | ({"training": json.loads(checkpoint.training)} if checkpoint.training else {})
        )
    raise UsageError(f"{path}: of no kind known here; give .onnx, .json, {' or '.join(CHECKPOINTS)}")


def examine_machine() -> dict[str, Any]:
    """What this machine has for running and exporting, and the pip line for what it lacks."""
    found: dict[str, Any] = {
        "fxsr": fxsr.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus usable": f"{available_cpus()} of {os.cpu_count()}",
    }
    for package, extra in _PACKAGES.items():
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = f'not installed; pip install "fxsr[{extra}]"'
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        found["onnxruntime providers"] = ", ".join(onnxruntime.get_available_providers())
    found["nvidia driver"] = (
        "found" if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists() else "none found"
    )
    found["bundled models"] = ", ".join(bundled_models())
    return found


def _facts(facts: ModelFacts) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(facts)
    config = values.pop("config")
    for side in ("inputs", "outputs"):
        values[side] = "; ".join(f"{each['name']} {each['dtype']} {tuple(each['shape'])}" for each in values[side])
    values["rewrites"] = ", ".join(values["rewrites"]) or "none"
    return {"name": values.pop("name"), **config, **values}
