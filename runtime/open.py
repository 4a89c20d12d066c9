"""Opens a model file as a session. This is the only module that knows every backend.

A new backend is one module in `fxsr.runtime.backends` with a class that has the methods of
`fxsr.runtime.session.Session`, and one line here.
"""

from __future__ import annotations

from pathlib import Path

from fxsr.errors import UsageError
from fxsr.models.file import ModelFileKind, find_model
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.tensorrt.session import open_engine
from fxsr.runtime.backends.torch import open_checkpoint
from fxsr.runtime.session import Device, Session


def open_session(model: str | Path, device: str = "auto", *, provider: str = "auto", trust: bool = False) -> Session:
    """Open a model for running.

    Args:
        model: a bundled name, an `.onnx` file exported by fxsr, an engine built from one (`.plan`, `.engine`), or a
            checkpoint (`.pth`, `.safetensors`; runs on torch, as the reference).
        device: "auto", "cpu", "cuda" or "cuda:N".
        provider: for `.onnx` files: one of `fxsr.runtime.backends.providers.PROVIDERS`.
        trust: load an engine without a manifest. Engines are executable code: do this only if you know its origin.

    Raises:
        UsageError: there is no such model, or files of its kind can't be run.
        ModelFileError, CheckpointError: the file is damaged or not a model of fxsr.
        DeviceError: the device is absent.
        MissingExtraError: the package that runs this kind of file is not installed.
    """
    where = Device.parse(device)
    file = find_model(model, ModelFileKind.ONNX, ModelFileKind.ENGINE, ModelFileKind.CHECKPOINT)
    if file.kind is ModelFileKind.ONNX:
        return OrtSession(file.path, where, provider)
    if provider != "auto":
        raise UsageError(f"--provider is for .onnx files; {file.path.name} runs without ONNX Runtime")
    if file.kind is ModelFileKind.ENGINE:
        return open_engine(file.path, where, trust=trust)
    return open_checkpoint(file.path, where)
