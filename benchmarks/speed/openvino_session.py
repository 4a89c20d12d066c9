"""An `.onnx` file on OpenVINO's CPU plugin. It is here to compare speeds with; it is no backend of fxsr."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.errors import FxsrError, UnavailableError, first_line
from fxsr.runtime.backends.onnxruntime import read_facts
from fxsr.runtime.layouts import check_output, from_graph, to_graph
from fxsr.runtime.session import CPU, Array, Session, SessionInfo


class OpenVinoSession(Session):
    """A graph on OpenVINO in the graph's own precision. By default, OpenVINO would choose a lower one.

    Raises:
        UnavailableError: OpenVINO is not installed.
        FxsrError: it can't load the graph.
    """

    def __init__(self, path: Path) -> None:
        try:
            openvino: Any = importlib.import_module("openvino")
        except ImportError as error:
            raise UnavailableError("openvino is not installed; type: pip install openvino") from error
        self._facts = read_facts(path)
        precision = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}[self._facts.precision]
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        try:
            self._model = openvino.Core().compile_model(str(path), "CPU", hints)
        except RuntimeError as error:
            raise FxsrError(f"{path}: OpenVINO can't load it ({first_line(error)})") from error
        self._info = SessionInfo.of_graph(self._facts, "openvino", CPU)

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        feed = to_graph(self._facts, lr, t_map)
        try:
            sr = np.asarray(self._model(feed)["sr"])
        except (RuntimeError, KeyError) as error:
            raise FxsrError(f"OpenVINO failed: {first_line(error)}") from error
        check_output(self._facts, next(iter(feed.values())).shape, sr.shape)
        return from_graph(self._facts, sr)

    def close(self) -> None:
        del self._model
