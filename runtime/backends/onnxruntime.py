"""Sessions on ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.errors import ModelFileError
from fxsr.models.foreign import explain_content
from fxsr.models.manifest import METADATA_KEY, ModelFacts, decode_facts
from fxsr.runtime.backends.providers import import_onnxruntime, open_graph
from fxsr.runtime.device.arrays import check_array, device_inputs, view_array
from fxsr.runtime.device.open import open_device
from fxsr.runtime.layouts import check_output, from_graph, to_graph
from fxsr.runtime.session import CPU, Array, Device, Session, SessionInfo, check_open, tile_error
from fxsr.runtime.timing import Timing
from fxsr.scratch import scratch_folder

_OUT_OF_MEMORY = re.compile("Failed to allocate memory|bad_alloc|out of memory|ALLOC_FAILED", re.IGNORECASE)
"""Messages of ONNX Runtime about a lack of memory. The classes of these errors differ between code paths."""
_PROFILED_RUNS = 5
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
"""ONNX Runtime's names of types, as numpy names them."""


class OrtSession(Session):
    """An `.onnx` file on ONNX Runtime.

    Args:
        path: the file.
        device: where to run it; "auto" is a GPU if the provider works on one.
        provider: one of `fxsr.runtime.backends.providers.PROVIDERS`.

    Raises:
        ModelFileError: not an ONNX file, or not one that fxsr exported.
        DeviceError: `device` names a GPU that can't be used.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, device: Device, provider: str = "auto") -> None:
        graph = open_graph(path, device, provider)
        self._path = path
        self._provider = graph.provider
        self._session = graph.session
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{path}: its metadata are damaged (not UTF-8); export it again") from error
        self._facts = _facts(metadata, path)
        _check_graph(self._session, self._facts, path)
        note = graph.note
        if not note and graph.device.is_cpu and self._facts.precision != "fp32":
            note = f"note: {path.name} computes in {self._facts.precision}, which CPUs do more slowly than fp32"
        self._info = SessionInfo.of_graph(self._facts, "onnxruntime", graph.device, note=note)

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        feed = to_graph(self._facts, lr, t_map)
        if self._info.device.is_cpu:
            with self._errors(lr):
                (sr,) = self._session.run(["sr"], feed)
        else:
            with self._errors(lr):
                binding = self._bind(feed)
                self._session.run_with_iobinding(binding)
                (sr,) = binding.copy_outputs_to_cpu()
        check_output(self._facts, next(iter(feed.values())).shape, np.shape(sr))
        return from_graph(self._facts, np.asarray(sr))

    def run_device(self, lr: Any, t_map: Any, out: Any, stream: Any = None) -> None:
        """As `Session.run_device`, but waits on the CPU, since ONNX Runtime uses a stream of its own."""
        if self._info.device.is_cpu:
            super().run_device(lr, t_map, out, stream)
        check_open(self._session)
        inputs = device_inputs(self._facts, lr, t_map)
        with open_device(self._info.device.index) as memory, memory.current():
            caller = memory.foreign_stream(stream)
            (output,) = self._facts.outputs
            binding = self._session.io_binding()
            to_bind = [(binding.bind_input, tensor, inputs[tensor.name]) for tensor in self._facts.inputs]
            for bind, tensor, array in [*to_bind, (binding.bind_output, output, out)]:
                view = view_array(array, tensor.name, memory, caller, written=tensor is output)
                check_array(view, tensor.name, view.shape, np.dtype(tensor.dtype))
                bind(tensor.name, "cuda", memory.dlpack_device[1], view.dtype, view.shape, view.ptr)
            caller.sync()
            with self._errors(lr):
                self._session.run_with_iobinding(binding)

    def measure(self, lr: Array, t_map: Array) -> Timing:
        return super().measure(lr, t_map) if self._info.device.is_cpu else self._measure_copies(lr, t_map)

    def profile_layers(self, lr: Array, t_map: Array) -> list[tuple[str, float]]:
        """Medians over several runs. They are taken in a separate session, since profiling makes a session slower."""
        with scratch_folder() as folder:
            session = open_graph(self._path, self._info.device, self._provider, Path(folder) / "profile").session
            for _ in range(1 + _PROFILED_RUNS):  # the first warms up
                session.run(["sr"], to_graph(self._facts, lr, t_map))
            events = json.loads(Path(session.end_profiling()).read_bytes())
        seconds: dict[str, list[float]] = {}
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                name = f"{event['name'].removesuffix('_kernel_time')} ({event['args']['op_name']})"
                seconds.setdefault(name, []).append(event["dur"] / 1e6)
        return [(name, statistics.median(taken[1:])) for name, taken in seconds.items()]

    def _measure_copies(self, lr: Array, t_map: Array) -> Timing:
        """On a GPU. Each step waits for the device, so the host's clock measures it correctly."""
        with self._errors(lr):
            begin = time.perf_counter()
            binding = self._bind(to_graph(self._facts, lr, t_map))
            copied_in = time.perf_counter()
            self._session.run_with_iobinding(binding)
            computed = time.perf_counter()
            binding.copy_outputs_to_cpu()
            copied_out = time.perf_counter()
        return Timing(copied_out - begin, computed - copied_in, copied_in - begin, copied_out - computed)

    def _bind(self, feed: Mapping[str, Array]) -> Any:
        """Copy the inputs to the GPU, and bind the output to memory there."""
        ort = import_onnxruntime()
        kind, index = self._info.device.kind, self._info.device.index
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, kind, index))
        binding.bind_output("sr", kind, index)
        return binding

    @contextmanager
    def _errors(self, lr: Any) -> Iterator[None]:
        """Turn ONNX Runtime's errors, which have no common base class, into ours."""
        check_open(self._session)
        try:
            yield
        except Exception as error:
            raise tile_error("ONNX Runtime", _OUT_OF_MEMORY, lr, error) from error

    def close(self) -> None:
        self._session = None


def read_facts(path: Path) -> ModelFacts:
    """Read the facts in an ONNX file's metadata.

    With the package onnx installed, this also works for graphs that ONNX Runtime can't run here.

    Raises:
        ModelFileError: not an ONNX file, or not one that fxsr exported.
    """
    if importlib.util.find_spec("onnx") is None:
        with OrtSession(path, CPU) as session:
            return session._facts
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError, ValueError) as error:
        raise ModelFileError(explain_content(path, "an ONNX file", error)) from error
    if not model.graph.node:
        raise ModelFileError(explain_content(path, "an ONNX file", "it has no nodes"))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):  # protobuf then gives bytes
        raise ModelFileError(f"{path}: its metadata are damaged (not UTF-8); export it again")
    return _facts(metadata, path)


def _check_graph(session: Any, facts: ModelFacts, path: Path) -> None:
    """Compare a graph's inputs and output with its facts, which anyone can edit."""
    for found, wanted in ((session.get_inputs(), facts.inputs), (session.get_outputs(), facts.outputs)):
        here = {each.name: (_TYPES.get(each.type, each.type), _sizes(each.shape)) for each in found}
        for tensor in wanted:
            promised = tensor.dtype, _sizes(tensor.shape)
            if here.get(tensor.name) != promised or len(here) != len(wanted):
                raise ModelFileError(
                    f"{path}: its description promises {tensor.name} of type {tensor.dtype} and {list(tensor.shape)}, "
                    "which the graph does not have; export it again"
                )


def _sizes(shape: Sequence[int | str | None]) -> list[int | None]:
    """The axes of fixed length; None: an axis of any length."""
    return [size if isinstance(size, int) else None for size in shape]


def _facts(metadata: Mapping[str, str], path: Path) -> ModelFacts:
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelFileError(f"{path}: an ONNX file, but not one that fxsr exported; make one with `fxsr export`")
    return decode_facts(text, str(path))
