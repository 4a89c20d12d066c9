"""Sessions on Polygraphy's runners, which run both ONNX files and engines: for verification, not for speed.

Engines are thus verified by other code than that of `fxsr.runtime`, which runs them for users.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.errors import FxsrError, ModelFileError, UsageError, first_line
from fxsr.extras import needs
from fxsr.models.manifest import EngineFacts, ModelFacts
from fxsr.runtime.backends.providers import import_onnxruntime
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile, check_runnable, load_flavour
from fxsr.runtime.backends.tensorrt.library import check_cuda, runtime_log
from fxsr.runtime.backends.tensorrt.session import load_engine
from fxsr.runtime.layouts import check_output, from_graph, to_engine, to_graph
from fxsr.runtime.machine.gpu import find_gpus
from fxsr.runtime.session import CPU, Array, Device, Session, SessionInfo


class RunnerSession(Session):
    """A model on one of Polygraphy's runners.

    Args:
        runner: a `polygraphy.backend.base.BaseRunner`, not activated.
        facts: facts about the graph.
        source: the file, for messages.
        engine: facts about the engine. None: the runner runs an ONNX file.

    Raises:
        ModelFileError: the file can't be loaded.
    """

    def __init__(self, runner: Any, facts: ModelFacts, source: Path, engine: EngineFacts | None = None) -> None:
        self._facts = facts
        self._source = source
        self._engine = engine
        self._runner = runner
        try:
            runner.activate()
        except Exception as error:  # Polygraphy lets errors of its backends through
            raise ModelFileError(f"{source}: it can't be loaded ({first_line(error)})") from error
        if engine:
            self._check_types(engine)

    @property
    def info(self) -> SessionInfo:
        return SessionInfo.of_graph(self._facts, "polygraphy", Device("cuda") if self._engine else CPU)

    def run(self, lr: Array, t_map: Array) -> Array:
        sr = self.outputs(lr, t_map).get("sr")
        if sr is None:
            raise ModelFileError(f"{self._source}: it has no output sr; export it again")
        check_output(self._facts, next(iter(to_graph(self._facts, lr, t_map).values())).shape, sr.shape)
        return from_graph(self._facts, sr)

    def outputs(self, lr: Array, t_map: Array) -> Mapping[str, Array]:
        """All outputs of the graph, by name.

        Raises:
            FxsrError: the shapes fit no profile of the engine, or the backend failed.
        """
        feed = (to_engine if self._engine else to_graph)(self._facts, lr, t_map)
        try:
            if self._engine:
                profile = self._engine.profile_for({name: array.shape for name, array in feed.items()})
                if profile is None:
                    raise UsageError(f"{self._source}: no profile takes a tile of {lr.shape[3]}x{lr.shape[2]}")
                self._runner.set_profile(profile)
            found = self._runner.infer({name: np.ascontiguousarray(array) for name, array in feed.items()})
        except FxsrError:
            raise
        except Exception as error:  # as above
            raise FxsrError(f"{self._source}: it failed on {lr.shape[3]}x{lr.shape[2]}: {first_line(error)}") from error
        return {name: np.array(array) for name, array in found.items()}

    def close(self) -> None:
        if self._runner.is_active:
            self._runner.deactivate()

    def _check_types(self, engine: EngineFacts) -> None:
        """Compare the manifest with what the engine itself reports."""
        found = {name: meta.dtype.name for name, meta in self._runner.get_input_metadata().items()}
        if wrong := [name for name, dtype in found.items() if engine.tensors.get(name) != dtype]:
            name = wrong[0]
            expected = engine.tensors.get(name)
            raise ModelFileError(f"{self._source}: its input {name} is {found[name]}, but its manifest says {expected}")


def onnx_runner(onnx: Path, all_tensors: bool = False) -> Any:
    """Polygraphy's runner for an ONNX file on ONNX Runtime's CPU provider.

    Args:
        onnx: the file.
        all_tensors: make every inner tensor an output.

    Raises:
        MissingExtraError: a package is not installed.
    """
    _silence()
    import_onnxruntime()
    with needs("export"):
        from polygraphy import constants
        from polygraphy.backend.onnx import BytesFromOnnx, ModifyOutputs, OnnxFromPath
        from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    source: Any = str(onnx)
    if all_tensors:
        unknown_to_numpy = ["*.bfloat16", "*.bfloat16.[0-9]*"]
        marked = ModifyOutputs(OnnxFromPath(source), outputs=constants.MARK_ALL, exclude_outputs=unknown_to_numpy)
        source = BytesFromOnnx(marked)
    return OnnxrtRunner(SessionFromOnnx(source, providers=["CPUExecutionProvider"]))


def engine_runner(engine: EngineFile) -> Any:
    """Polygraphy's runner for an engine.

    Raises:
        DeviceError, ModelFileError: the engine can't be run on this machine.
        MissingExtraError: a package is not installed.
    """
    backend = claim_backend(engine)
    source: Any = backend.EngineFromPath(str(engine.path))
    if engine.facts.options.strip_weights:
        trt = load_flavour(engine.facts.flavour)
        source = load_engine(trt, runtime_log(trt), engine.path, engine)
    # "runtime" is the only strategy for TensorRT-RTX engines that take all their memory from the caller
    return backend.TrtRunner(source, allocation_strategy="runtime")


def claim_backend(engine: EngineFile) -> Any:
    """Polygraphy's TensorRT backend, set to an engine's flavour after checking that the engine can run here.

    Polygraphy fixes the flavour when the backend is first used, so call this before any other use.

    Raises:
        DeviceError, ModelFileError: the engine can't be run on this machine.
        MissingExtraError: a package is not installed.
    """
    check_runnable(engine, load_flavour(engine.facts.flavour), next(iter(find_gpus()), None))
    check_cuda()
    return load_backend(engine.facts)


def load_backend(engine: EngineFacts) -> Any:
    """Polygraphy's TensorRT backend, set to the engine's flavour. A process can use only one flavour.

    Raises:
        FxsrError: this process already uses the other flavour.
        MissingExtraError: Polygraphy is not installed.
    """
    rtx = engine.flavour == "tensorrt-rtx"
    _show_cuda()
    _silence()
    with needs("export"):
        from polygraphy import config

        if "polygraphy.backend.trt" not in sys.modules:
            config.USE_TENSORRT_RTX = rtx
        import polygraphy.backend.trt as backend
    if bool(config.USE_TENSORRT_RTX) != rtx:
        raise FxsrError(
            f"{engine.file.file}: engines of TensorRT and TensorRT-RTX can't be verified together; verify each alone"
        )
    return backend


def _show_cuda() -> None:
    """Help Polygraphy find CUDA's runtime library in NVIDIA's newer wheels, where it does not look."""
    with suppress(ImportError, RuntimeError):  # RuntimeError: the library is not found
        from cuda.pathfinder import load_nvidia_dynamic_lib

        folder = Path(load_nvidia_dynamic_lib("cudart").abs_path).parent
        known = [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]
        if str(folder) not in known:
            os.environ["LD_LIBRARY_PATH"] = ":".join([*known, str(folder)])


def _silence() -> None:
    """Stop Polygraphy from logging to standard output. Its errors are still raised."""
    with needs("export"):
        from polygraphy.logger import G_LOGGER
    G_LOGGER.module_severity = G_LOGGER.CRITICAL
