"""Sets up an engine of a tiny network on a device in host memory, for tests of sessions on devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fxsr.export import write_onnx
from fxsr.export.engine.profiles import engine_profiles, parse_tiles
from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.files import sha256
from fxsr.models.manifest import BuildOptions, EngineFacts, FileFacts, Manifest
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile
from fxsr.runtime.backends.tensorrt.library import runtime_log
from fxsr.runtime.backends.tensorrt.session import TensorRTEngine, load_engine, session_info
from fxsr.runtime.device.session import DeviceSession
from fxsr.runtime.machine.gpu import Gpu
from fxsr.runtime.session import CPU, Array, Device
from tests.faketensorrt import FakeTensorRT
from tests.hostdevice import HostMemory
from tests.support import TINY, golden_checkpoint

GPU = Gpu("Test GPU", "8.9", "580.1", 8000)
RNG = np.random.default_rng(3)
Batch = tuple[Array, Array]


class Rig:
    """An engine of a tiny network on a device in host memory, and ONNX Runtime on the same graph."""

    def __init__(self, folder: Path, options: GraphOptions, shapes: str, batch: str, memory: HostMemory) -> None:
        checkpoint = golden_checkpoint(TINY, 4)
        self.path = folder / "x.rtx.plan"
        write_onnx(checkpoint, options, self.path)
        self.facts = model_facts(checkpoint, options)
        profiles = engine_profiles(self.facts, parse_tiles(None, shapes, batch))
        self.memory = memory
        self.trt = FakeTensorRT(memory, profiles)
        file = FileFacts(self.path.name, sha256(self.path), self.path.stat().st_size)
        types = {tensor.name: tensor.dtype for tensor in (*self.facts.inputs, *self.facts.outputs)}
        facts = EngineFacts(file, "tensorrt-rtx", "1.7.0.0", profiles, types, BuildOptions(), "", weight_bytes=5)
        self.file = EngineFile(self.path, Manifest(self.facts, file, engines=(facts,)), facts)

    def engine(self) -> TensorRTEngine:
        """Load the engine."""
        log = runtime_log(self.trt)
        return TensorRTEngine(self.trt, log, load_engine(self.trt, log, self.path, self.file), self.file, GPU)

    def session(self) -> DeviceSession:
        """Open a session of the engine."""
        with self.memory.current():
            engine = self.engine()
        return DeviceSession(engine, self.memory, session_info(self.file, Device("cuda")))

    def expected(self, lr: Array, t_map: Array) -> Array:
        """The output of ONNX Runtime."""
        onnx = self.path.with_suffix(".onnx")
        onnx.write_bytes(self.path.read_bytes())
        with OrtSession(onnx, CPU) as session:
            return session.run(lr, t_map)


def make_rig(folder: Path, memory: HostMemory | None = None, **options: Any) -> Rig:
    """A rig for tiles of 8 to 16 pixels and batches of 1 or 2; `options` are those of the graph."""
    return Rig(folder, GraphOptions(**options), "8x8,16x16,16x16", "1,2,2", memory or HostMemory())


def batch(
    height: int = 12, width: int = 16, count: int = 1, t: int = 1, dtype: Any = np.float32
) -> tuple[Array, Array]:
    """Random `lr` and `t_map`; `t` 0 gives 1x1 maps."""
    size = (height, width) if t else (1, 1)
    return RNG.random((count, 3, height, width)).astype(dtype), RNG.random((count, 1, *size)).astype(dtype)
