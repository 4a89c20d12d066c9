"""Sessions on ONNX Runtime: its CPU provider, and its CUDA provider where there is one."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.errors import DeviceError, FxsrError, ModelFileError, first_line
from fxsr.extras import needs
from fxsr.manifest import METADATA_KEY, ModelFacts, decode_facts
from fxsr.runtime.layouts import from_graph, session_dtype, to_graph
from fxsr.runtime.session import Array, Device, Session, SessionInfo, available_cpus

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OrtSession(Session):
    """An `.onnx` file on ONNX Runtime.

    Raises:
        ModelFileError: not an ONNX file, or not one that fxsr exported.
        DeviceError: a GPU was asked for and can't be used.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, device: Device) -> None:
        with needs("cpu"):
            import onnxruntime as ort
        self._session = _create(ort, path, device)
        self.facts = _facts(self._session.get_modelmeta().custom_metadata_map, path)
        on_gpu = self._session.get_providers()[0] == _CUDA
        self._info = SessionInfo(
            name=self.facts.name,
            scale=self.facts.scale,
            dtype=session_dtype(self.facts),
            baked_t=self.facts.baked_t,
            backend="onnxruntime",
            device=f"cuda:{device.index}" if on_gpu else "cpu",
        )

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        try:
            (sr,) = self._session.run(["sr"], to_graph(self.facts, lr, t_map))
        except Exception as error:  # ONNX Runtime's errors have no common base
            size = f"{lr.shape[3]}x{lr.shape[2]}"
            raise FxsrError(f"ONNX Runtime failed on a {size} tile: {first_line(error)}") from error
        return from_graph(self.facts, np.asarray(sr))

    def close(self) -> None:
        self._session = None


def _create(ort: Any, path: Path, device: Device) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cpus()  # ONNX Runtime itself ignores affinity and quotas
    options.enable_mem_pattern = False  # patterns pile up with every tile size seen, and gain next to nothing here
    options.log_severity_level = 4
    providers: list[Any] = [_CPU]
    if device.kind != "cpu" and _CUDA in ort.get_available_providers():
        ort.preload_dlls()
        providers.insert(0, (_CUDA, {"device_id": device.index, "cudnn_conv_algo_search": "HEURISTIC"}))
    elif device.kind == "cuda":
        raise DeviceError('this ONNX Runtime has no CUDA provider; type: pip install "fxsr[gpu]", or use --device cpu')
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ModelFileError(f"{path}: ONNX Runtime can't load it ({first_line(error)})") from error
    # It falls back to the CPU without an error: look at what it really took.
    if device.kind == "cuda" and session.get_providers()[0] != _CUDA:
        raise DeviceError(f"{device} can't be used by ONNX Runtime (no such GPU, or no driver); try --device cpu")
    return session


def read_facts(path: Path) -> ModelFacts:
    """What an ONNX file says that it is. Where the package onnx is installed, ONNX Runtime need not be able to run it.

    Raises:
        ModelFileError: not an ONNX file, or not one that fxsr exported.
    """
    if importlib.util.find_spec("onnx") is None:
        with OrtSession(path, Device("cpu")) as session:
            return session.facts
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError, ValueError) as error:
        raise ModelFileError(f"{path}: not an ONNX file ({first_line(error)})") from error
    return _facts({entry.key: entry.value for entry in model.metadata_props}, path)


def _facts(metadata: Mapping[str, str], path: Path) -> ModelFacts:
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelFileError(f"{path}: an ONNX file, but not one that fxsr exported; make it with `fxsr export`")
    return decode_facts(text, str(path))
