"""What every device must do for `DeviceSession`, checked with an engine of two kernels instead of a model.

The first kernel is slow on purpose, and the second reads scratch memory that the first wrote: a wait that was forgotten
gives wrong results. `tests/gpu/test_device_layer.py` runs this on a real GPU, with kernels that CuPy compiles;
`tests/unit/runtime/test_device_layer.py` on the tests' device of host memory, so that the checks themselves are known
to work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytest

from fxsr.errors import OutOfMemoryError, UsageError
from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.models.manifest import ModelFacts, Shape
from fxsr.runtime.device.lanes import Context, Engine
from fxsr.runtime.device.protocols import Block, DeviceMemory, Stream
from fxsr.runtime.device.session import DeviceSession
from fxsr.runtime.session import Array, Device, SessionInfo
from tests.support import TINY, golden_checkpoint

LARGEST = 512
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Launch:
    """One run of the two kernels: addresses and sizes."""

    lr: int
    t_map: int
    sr: int
    scratch: int
    n: int
    h: int
    w: int
    th: int
    tw: int


class Kernels(Protocol):
    """The two kernels on a device."""

    def launch(self, launch: Launch, stream: Stream) -> None:
        """Submit both to a stream."""
        ...


def expected(lr: Array, t_map: Array) -> Array:
    """The output of the two kernels: the image at half brightness, four times as large, plus the style."""
    style = np.broadcast_to(t_map, (len(lr), 1, *lr.shape[2:]))
    found: Array = (lr * np.float32(0.5)).repeat(4, 2).repeat(4, 3) + style.repeat(4, 2).repeat(4, 3)
    return found


class KernelContext(Context):
    """Runs the kernels in one shape."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._shapes: dict[str, Shape] = {}
        self._scratch = 0

    def prepare(self, shapes: Mapping[str, Shape], stream: Stream) -> int:
        if max(shapes["lr"][2:]) > LARGEST:
            raise UsageError("too large")
        self._shapes = dict(shapes)
        return int(np.prod(shapes["lr"])) * 4

    def output_shape(self) -> Shape:
        n, _, h, w = self._shapes["lr"]
        return n, 3, 4 * h, 4 * w

    def use_scratch(self, memory: Block) -> None:
        self._scratch = memory.ptr

    def can_be_captured(self, stream: Stream) -> bool:
        return True

    def enqueue(self, addresses: Mapping[str, int], stream: Stream) -> None:
        (n, _, h, w), (_, _, th, tw) = self._shapes["lr"], self._shapes["t_map"]
        lr, t_map, sr = (addresses[name] for name in ("lr", "t_map", "sr"))
        self._kernels.launch(Launch(lr, t_map, sr, self._scratch, n, h, w, th, tw), stream)

    def close(self) -> None:
        """Nothing to free."""


class KernelEngine(Engine):
    """The kernels as an engine."""

    weight_bytes = 0

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._facts = model_facts(golden_checkpoint(TINY, 4), GraphOptions())

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    def context(self) -> Context:
        return KernelContext(self._kernels)

    def keep_compiled(self) -> None:
        """Nothing is compiled."""

    def layer_times(self, context: Context, run: Callable[[], None]) -> list[tuple[str, float]]:
        run()
        return [("all", 0.0)]

    def close(self) -> None:
        """Nothing to free."""


@dataclass
class DeviceLayer:
    """A session of the kernels, and the memory of its device."""

    memory: DeviceMemory
    session: DeviceSession


def device_layer(memory: DeviceMemory, kernels: Kernels) -> DeviceLayer:
    """Open a session of the kernels on a device."""
    info = SessionInfo("kernels", 4, np.dtype(np.float32), "kernels", Device("cuda"), batch=4, tile=(LARGEST, LARGEST))
    with memory.current():
        return DeviceLayer(memory, DeviceSession(KernelEngine(kernels), memory, info))


def inputs(h: int, w: int, n: int = 1, *, style_map: bool = False) -> tuple[Array, Array]:
    """Random `lr` and `t_map`."""
    side = (h, w) if style_map else (1, 1)
    return RNG.random((n, 3, h, w)).astype(np.float32), RNG.random((n, 1, *side)).astype(np.float32)


def is_right(found: Array, lr: Array, t_map: Array) -> bool:
    """Whether an output is what the kernels give."""
    return bool(np.allclose(found, expected(lr, t_map), atol=1e-6))


class DeviceLayerTests:
    """Tests of any device; the subclass in a test module has the fixture `layer`."""

    def test_batches_of_changing_shapes_one_by_one(self, layer: DeviceLayer) -> None:
        shapes = [(16, 16, 1, False), (37, 51, 2, True), (128, 96, 4, True), (37, 51, 2, False), (16, 16, 1, True)]
        for h, w, n, style_map in shapes * 3:
            lr, t_map = inputs(h, w, n, style_map=style_map)
            assert is_right(layer.session.run(lr, t_map), lr, t_map)

    def test_batches_in_flight_are_right_and_become_graphs(self, layer: DeviceLayer) -> None:
        batches = [inputs(64, 64, style_map=index % 2 == 1) for index in range(60)]
        for given, found in zip(batches, layer.session.stream(batches), strict=True):
            assert is_right(found, *given)
        slots = [slot for lane in layer.session._lanes.values() for slot in lane.slots]
        assert len(slots) == 6  # three of each shape
        assert all(slot.graph is not None for slot in slots)

    def test_copies_and_work_are_timed(self, layer: DeviceLayer) -> None:
        given = inputs(256, 256, style_map=True)
        timing = [layer.session.measure(*given) for _ in range(8)][-1]
        assert timing.compute > 0
        assert timing.host_to_device is not None
        assert timing.device_to_host is not None

    def test_batches_in_flight_give_what_one_by_one_gives(self, layer: DeviceLayer, figures: list[str]) -> None:
        given = inputs(512, 512, 2)
        alone = layer.session.run(*given)
        begin = time.perf_counter()
        for _ in range(10):
            layer.session.run(*given)
        middle = time.perf_counter()
        for found in layer.session.stream([given] * 10):
            assert np.array_equal(found, alone)
        end = time.perf_counter()
        figures.append(f"10 batches: {(middle - begin) * 1e3:.0f} ms one by one, {(end - middle) * 1e3:.0f} in flight")

    def test_too_large_a_shape_leaves_the_session_usable(self, layer: DeviceLayer) -> None:
        with pytest.raises(UsageError):
            layer.session.run(*inputs(LARGEST + 16, 16))
        given = inputs(32, 32)
        assert is_right(layer.session.run(*given), *given)

    def test_running_out_of_memory_leaves_the_session_usable(self, layer: DeviceLayer) -> None:
        with layer.memory.current(), pytest.raises(OutOfMemoryError):
            layer.memory.alloc(1 << 45)
        given = inputs(32, 32)
        assert is_right(layer.session.run(*given), *given)

    def test_closing_gives_all_memory_back(self, layer: DeviceLayer) -> None:
        session, memory = layer.session, layer.memory
        session.run(*inputs(512, 512, 4, style_map=True))
        with memory.current():
            before = memory.available()[0]
        held = session.device_memory()
        assert held > 4 * 3 * 2048 * 2048 * 4  # the output alone
        session.close()
        with memory.current():
            assert memory.available()[0] - before > held / 2  # devices allocate in pages of their own size
