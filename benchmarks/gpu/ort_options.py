"""Group 4 of the hardware report: what options of ONNX Runtime's CUDA provider gain on one graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.benchmarks.gpu.models import ModelSpec, Side, Size
from fxsr.benchmarks.gpu.steps import Journal
from fxsr.errors import DeviceError, FxsrError, first_line
from fxsr.models.manifest import Precision
from fxsr.runtime.backends.onnxruntime import read_facts
from fxsr.runtime.backends.providers import cuda_options, import_onnxruntime, quiet_options
from fxsr.runtime.layouts import session_dtype, to_graph
from fxsr.runtime.session import Array, Device

_WARM, _TIMED = 10, 15
CHANGES: dict[str, Mapping[str, str]] = {
    "as fxsr asks": {},
    "prefer_nhwc": {"prefer_nhwc": "1"},
    "exhaustive search": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "prefer_nhwc, exhaustive search": {"prefer_nhwc": "1", "cudnn_conv_algo_search": "EXHAUSTIVE"},
    "fuse_conv_bias": {"fuse_conv_bias": "1"},
    "enable_cuda_graph": {"enable_cuda_graph": "1"},
    "prefer_nhwc, enable_cuda_graph": {"prefer_nhwc": "1", "enable_cuda_graph": "1"},
    "no TF32": {"use_tf32": "0"},
}
"""Options that are added to those that fxsr asks for, or replace them."""


@dataclass(frozen=True)
class _Timed:
    seconds: float
    output: Array


def compare_options(
    journal: Journal, side: Side, blocks: int, precision: Precision, size: Size, device: str, only: int | None = None
) -> None:
    """Time one graph with each of `CHANGES`. Inputs and output stay on the GPU.

    Args:
        journal: of the step.
        side, blocks: which model; see `ModelSpec`.
        precision: of the graph.
        size: of the LR image. One style is given, as 1x1.
        device: "cuda" or "cuda:N". On "cpu" the options are left out: that tries the step itself.
        only: number of options to try. None: all.

    Raises:
        DeviceError: the CUDA provider can't be used, with any options.
    """
    graph = ModelSpec(side, blocks).graph(journal.work, precision)
    first: _Timed | None = None
    for name, change in list(CHANGES.items())[:only]:
        try:
            found = _time(graph, size, Device.parse(device), change)
        except FxsrError as error:
            if first is None:
                raise
            journal.add(name, note=str(error))
            continue
        first = first or found
        apart = float(np.linalg.norm(found.output - first.output) / np.linalg.norm(first.output))
        journal.add(
            name,
            median_ms=found.seconds * 1e3,
            times_as_fast=first.seconds / found.seconds,
            relative_difference=apart,
        )


def _time(graph: Path, size: Size, device: Device, change: Mapping[str, str]) -> _Timed:
    ort = import_onnxruntime()
    try:
        return _run(ort, graph, size, device, change)
    except FxsrError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise FxsrError(first_line(error)) from error


def _run(ort: Any, graph: Path, size: Size, device: Device, change: Mapping[str, str]) -> _Timed:
    provider: Any = "CPUExecutionProvider"
    if not device.is_cpu:
        provider = ("CUDAExecutionProvider", cuda_options(device.index) | dict(change))
    session = ort.InferenceSession(str(graph), quiet_options(ort), providers=[provider])
    if not device.is_cpu and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError("ONNX Runtime's CUDA provider can't be used here")
    rng, binding = np.random.default_rng(0), session.io_binding()
    facts = read_facts(graph)
    given = session_dtype(facts)
    lr, t_map = (rng.random(shape, np.float32).astype(given) for shape in ((1, 3, *size), (1, 1, 1, 1)))
    kept = []
    for name, array in to_graph(facts, lr, t_map).items():
        kept.append(ort.OrtValue.ortvalue_from_numpy(array, device.kind, device.index))
        binding.bind_ortvalue_input(name, kept[-1])
    dtype = np.dtype(facts.outputs[0].dtype)
    shape = (1, 3, size[0] * facts.scale, size[1] * facts.scale)
    output = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, device.kind, device.index)
    binding.bind_ortvalue_output(facts.outputs[0].name, output)
    seconds = []
    for _ in range(_WARM + _TIMED):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)  # waits for the device
        seconds.append(time.perf_counter() - begin)
    return _Timed(statistics.median(seconds[_WARM:]), output.numpy().astype(np.float32))
