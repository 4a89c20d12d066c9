"""Runs batches on a device, and overlaps copies with computation, for any engine on any device memory.

A batch goes through three streams: into the device, through the engine, and out again. `fxsr.runtime.device.lanes`
holds what it needs on the way. A model that gets style maps and single styles in turn has two lanes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from fxsr.errors import FxsrError, OutOfMemoryError, UsageError
from fxsr.models.manifest import Shape
from fxsr.runtime.device.arrays import check_array, device_inputs, view_array
from fxsr.runtime.device.lanes import Engine, Lane, Scratch, Slot
from fxsr.runtime.device.protocols import DeviceMemory, Event
from fxsr.runtime.layouts import check_output, from_graph, to_engine
from fxsr.runtime.session import Array, Session, SessionInfo, check_open
from fxsr.runtime.timing import Timing

P = ParamSpec("P")
T = TypeVar("T")
DEPTH = 3
"""Batches in flight: one is copied in, one is in the engine, one is read by the CPU."""


def _on_device(method: Callable[Concatenate[DeviceSession, P], T]) -> Callable[Concatenate[DeviceSession, P], T]:
    """Run a method with the session's device as the calling thread's current one."""

    @wraps(method)
    def run(session: DeviceSession, /, *args: P.args, **kwargs: P.kwargs) -> T:
        check_open(not session._closed)
        with session._memory.current():
            return method(session, *args, **kwargs)

    return run


class DeviceSession(Session):
    """An engine on a device. `close` closes both.

    Args:
        engine: the engine to run.
        memory: the device that it runs on.
        info: the session's info.
        depth: maximum number of batches in flight.
    """

    def __init__(self, engine: Engine, memory: DeviceMemory, info: SessionInfo, depth: int = DEPTH) -> None:
        self._facts = engine.facts
        self._engine = engine
        self._memory = memory
        self._info = info
        self._depth = depth
        with memory.current():
            self._copy_in_stream = memory.stream()
            self._compute_stream = memory.stream()
            self._copy_out_stream = memory.stream()
        self._lanes: dict[tuple[object, ...], Lane] = {}
        self._scratch = Scratch(memory)
        self._closed = False
        self._compiled = False
        """Whether a new shape may have compiled something since `Engine.keep_compiled`."""

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        (sr,) = map(np.array, self.stream([(lr, t_map)]))
        return sr

    def stream(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[Array]:
        waiting: deque[Slot] = deque()
        try:
            for lr, t_map in batches:
                if len(waiting) == self._depth:
                    yield self._collect(waiting.popleft())
                waiting.append(self._submit(lr, t_map))
            while waiting:
                yield self._collect(waiting.popleft())
        finally:
            if waiting:  # the caller stopped early, or a batch failed: no slot may stay busy
                for slot in waiting:
                    slot.busy = False
                with suppress(FxsrError), self._memory.current():
                    self._wait()

    @_on_device
    def run_device(self, lr: Any, t_map: Any, out: Any, stream: Any = None) -> None:
        caller = self._memory.foreign_stream(stream)
        inputs = device_inputs(self._facts, lr, t_map)
        arrays = {name: view_array(array, name, self._memory, caller) for name, array in inputs.items()}
        for tensor in self._facts.inputs:
            array = arrays[tensor.name]
            if len(array.shape) != len(tensor.shape):
                raise UsageError(f"{tensor.name} has the shape {array.shape}; it must be {tensor.layout}")
            check_array(array, tensor.name, array.shape, np.dtype(tensor.dtype))
        lane = self._lane({name: array.shape for name, array in arrays.items()}, staged=False)
        (slot,) = lane.slots
        (output,) = self._facts.outputs
        target = view_array(out, "out", self._memory, caller, written=True)
        check_array(target, "out", slot.context.output_shape(), np.dtype(output.dtype))
        self._scratch.take_turn(caller)
        slot.context.enqueue({name: array.ptr for name, array in arrays.items()} | {output.name: target.ptr}, caller)
        self._scratch.used_until(caller.record())
        self._keep_compiled()

    @_on_device
    def measure(self, lr: Array, t_map: Array) -> Timing:
        slot = self._free_slot(to_engine(self._facts, lr, t_map))
        begin = time.perf_counter()
        copy_in = [self._copy_in_stream.record(timed=True)]
        self._copy_in(slot)
        copy_in.append(self._copy_in_stream.record(timed=True))
        self._compute_stream.wait(copy_in[1])
        compute = [self._compute_stream.record(timed=True)]
        enqueue = time.perf_counter()
        compute.append(self._launch(slot, timed=True))
        enqueue = time.perf_counter() - enqueue
        self._copy_out_stream.wait(compute[1])
        copy_out = [self._copy_out_stream.record(timed=True)]
        self._copy_out(slot)
        copy_out.append(self._copy_out_stream.record(timed=True))
        copy_out[1].sync()
        elapsed = self._memory.elapsed
        total = time.perf_counter() - begin
        return Timing(total, elapsed(*compute), elapsed(*copy_in), elapsed(*copy_out), enqueue)

    @_on_device
    def profile_layers(self, lr: Array, t_map: Array) -> list[tuple[str, float]]:
        """Uses a separate context, since TensorRT's contexts keep the profiler that they were given."""
        feed = to_engine(self._facts, lr, t_map)
        lane = self._new_lane({name: array.shape for name, array in feed.items()}, 1, staged=True)
        slot = _filled(lane, feed)

        def run() -> None:
            self._copy_in(slot)
            self._copy_in_stream.sync()
            self._scratch.take_turn(self._compute_stream)
            slot.context.enqueue(slot.addresses, self._compute_stream)
            self._scratch.used_until(self._compute_stream.record())
            self._compute_stream.sync()

        try:
            run()
            return self._engine.layer_times(slot.context, run)
        finally:
            with suppress(FxsrError):
                self._wait()
            lane.close()

    def device_memory(self) -> int:
        lanes = sum(lane.device_bytes for lane in self._lanes.values())
        return lanes + self._scratch.nbytes + self._engine.weight_bytes

    def close(self) -> None:
        """Close everything, even if a step fails, as all do on a lost device."""
        self._closed = True
        with suppress(FxsrError), self._memory.current():
            for step in (self._wait, *(lane.close for lane in self._lanes.values()), self._scratch.close):
                with suppress(FxsrError):
                    step()
            self._lanes.clear()
            self._engine.close()
        with suppress(FxsrError):
            self._memory.close()

    @_on_device
    def _submit(self, lr: Array, t_map: Array) -> Slot:
        slot = self._free_slot(to_engine(self._facts, lr, t_map))
        self._copy_in(slot)
        self._compute_stream.wait(self._copy_in_stream.record())
        self._copy_out_stream.wait(self._launch(slot))
        self._copy_out(slot)
        slot.ready = self._copy_out_stream.record()
        slot.busy = True
        return slot

    def _collect(self, slot: Slot) -> Array:
        assert slot.ready is not None
        slot.busy = False
        slot.ready.sync()
        check_output(self._facts, slot.staged[self._facts.inputs[0].name].shape, slot.result.shape)
        self._keep_compiled()
        return from_graph(self._facts, slot.result)

    def _keep_compiled(self) -> None:
        if self._compiled:
            self._compiled = False
            self._engine.keep_compiled()

    def _free_slot(self, feed: Mapping[str, Array]) -> Slot:
        """A free slot for inputs of these shapes, with the inputs in its pinned memory."""
        return _filled(self._lane({name: array.shape for name, array in feed.items()}, staged=True), feed)

    def _copy_in(self, slot: Slot) -> None:
        for pinned, device in slot.inputs.values():
            self._memory.copy(device, pinned, pinned.nbytes, self._copy_in_stream)

    def _launch(self, slot: Slot, timed: bool = False) -> Event:
        """Submit the engine's work: directly the first time, then as a captured graph if that is possible."""
        self._scratch.take_turn(self._compute_stream)
        if slot.graph is None and slot.warm and not slot.uncapturable:
            if slot.context.can_be_captured(self._compute_stream):
                slot.graph = self._memory.capture(
                    lambda s: slot.context.enqueue(slot.addresses, s), self._compute_stream
                )
            slot.uncapturable = slot.graph is None
        if slot.graph is not None:
            slot.graph.launch(self._compute_stream)
        else:
            slot.context.enqueue(slot.addresses, self._compute_stream)
            slot.warm = True
        done = self._compute_stream.record(timed)
        self._scratch.used_until(done)
        return done

    def _copy_out(self, slot: Slot) -> None:
        pinned, device = slot.output
        self._memory.copy(pinned, device, pinned.nbytes, self._copy_out_stream)

    def _lane(self, shapes: Mapping[str, Shape], staged: bool) -> Lane:
        key = (staged, *shapes.items())
        lane = self._lanes.pop(key, None)
        if lane is None:
            count = self._depth if staged else 1
            try:
                lane = self._new_lane(shapes, count, staged)
            except OutOfMemoryError:
                room = self._drop_lanes(0)
                if (
                    not self._lanes and self._scratch.nbytes
                ):  # otherwise old and new scratch memory would be needed at once
                    self._wait()
                    self._scratch.close()
                    room = True
                if not room:
                    raise
                lane = self._new_lane(shapes, count, staged)
        self._lanes[key] = lane  # the lane used last comes last
        self._drop_lanes(self._depth + 1)  # as many shapes as can be in flight at once, and one more
        return lane

    def _new_lane(self, shapes: Mapping[str, Shape], count: int, staged: bool) -> Lane:
        lane = Lane(self._memory, self._engine, count)
        self._compiled = True
        try:
            needed = max(slot.context.prepare(shapes, self._compute_stream) for slot in lane.slots)
            if staged:
                lane.allocate(self._facts, shapes)
            if self._scratch.nbytes < needed:
                self._wait()
                self._scratch.grow(needed)
                for other in self._lanes.values():
                    other.use_scratch(self._scratch)
            lane.use_scratch(self._scratch)
        except BaseException:
            lane.close()
            raise
        return lane

    def _drop_lanes(self, kept: int) -> bool:
        """Close idle lanes, the longest unused first, until at most `kept` remain. Returns whether any was closed."""
        dropped = False
        for key, lane in list(self._lanes.items()):
            if len(self._lanes) > kept and not lane.busy:
                if not dropped:
                    self._wait()
                lane.close()
                del self._lanes[key]
                dropped = True
        return dropped

    def _wait(self) -> None:
        """Wait until nothing is in flight."""
        for stream in (self._copy_in_stream, self._compute_stream, self._copy_out_stream):
            stream.sync()
        self._scratch.wait()


def _filled(lane: Lane, feed: Mapping[str, Array]) -> Slot:
    """The lane's next slot, with the inputs in its pinned memory."""
    slot = lane.next_slot()
    for name, array in feed.items():
        np.copyto(slot.staged[name], array)
    return slot
