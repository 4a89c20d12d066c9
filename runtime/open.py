"""How a model file becomes a session: the one module that knows every backend.

A new backend is one module in `fxsr.runtime.backends` with a class that has the methods of
`fxsr.runtime.session.Session`, and one line here.
"""

from __future__ import annotations

from pathlib import Path

from fxsr.errors import UsageError
from fxsr.models.bundled import model_path
from fxsr.models.checkpoint import load_checkpoint
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.tensorrt.engine_file import ENGINES
from fxsr.runtime.backends.tensorrt.session import open_engine
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CHECKPOINTS, Device, Session


def open_session(model: str | Path, device: str = "auto", *, provider: str = "auto", trust: bool = False) -> Session:
    """Open a model for running.

    Args:
        model: a bundled name, an `.onnx` file exported by fxsr, an engine built from one (`.plan`, `.engine`), or a
            checkpoint (`.pth`, `.safetensors`; runs on torch, for reference).
        device: "auto", "cpu", "cuda" or "cuda:N".
        provider: for `.onnx` files: one of `fxsr.runtime.backends.providers.PROVIDERS`.
        trust: load an engine without a manifest. Engines are code that runs: only one whose origin you know.

    Raises:
        UsageError: no such model, or a kind of file that can't be run.
        ModelFileError, CheckpointError: the file is damaged or not a model of fxsr.
        DeviceError: the device is absent.
        MissingExtraError: the package that runs this kind of file is not installed.
    """
    where = Device.parse(device)
    path = model_path(model, ".onnx")
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UsageError(f"{path}: a folder, not a model")
    if suffix == ".onnx":
        return OrtSession(path, where, provider)
    if provider != "auto" and suffix in (*CHECKPOINTS, *ENGINES):
        raise UsageError(f"--provider is for .onnx files; {path.name} runs without ONNX Runtime")
    if suffix in CHECKPOINTS:
        return TorchSession(load_checkpoint(path), where)
    if suffix in ENGINES:
        return open_engine(path, where, trust=trust)
    raise UsageError(
        f"{path}: not a kind of model that can be run; give {', '.join(('.onnx', *ENGINES, *CHECKPOINTS))}"
    )
