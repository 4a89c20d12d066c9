"""Running batches on a device with copies under the work: the scheduling, for any engine on any device memory.

A batch goes through three streams: into the device, through the engine, out of it. What it needs on the way is in
`fxsr.runtime.device.lanes`; a model that is given style maps and single styles by turns has two lanes.
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
from fxsr.runtime.layouts import from_graph, to_engine
from fxsr.runtime.session import Array, Session, SessionInfo
from fxsr.runtime.timing import Timing

P = ParamSpec("P")
T = TypeVar("T")
DEPTH = 3
"""Batches in flight: one going in, one in the engine, one that the CPU is still reading."""


def _on_device(method: Callable[Concatenate[DeviceSession, P], T]) -> Callable[Concatenate[DeviceSession, P], T]:
    """A method during which the session's device is the calling thread's."""

    @wraps(method)
    def run(session: DeviceSession, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with session._memory.current():
            return method(session, *args, **kwargs)

    return run


class DeviceSession(Session):
    """An engine on a device. Closes both.

    Args:
        engine: what runs.
        memory: of the device that it runs on.
        info: what is said of the session.
        depth: batches in flight at most.
    """

    def __init__(self, engine: Engine, memory: DeviceMemory, info: SessionInfo, depth: int = DEPTH) -> None:
        self.facts = engine.facts
        self._engine = engine
        self._memory = memory
        self._info = info
        self._depth = depth
        with memory.current():
            self._into, self._work, self._out = memory.stream(), memory.stream(), memory.stream()
        self._lanes: dict[tuple[object, ...], Lane] = {}
        self._scratch = Scratch(memory)

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
            if waiting:  # left before the end, or failed: no slot may stay under way
                for slot in waiting:
                    slot.busy = False
                with suppress(FxsrError), self._memory.current():
                    self._settle()

    @_on_device
    def run_device(self, lr: Any, t_map: Any, out: Any, stream: Any = None) -> None:
        caller = self._memory.foreign_stream(stream)
        given = device_inputs(self.facts, lr, t_map)
        arrays = {name: view_array(array, name, self._memory, caller) for name, array in given.items()}
        for tensor in self.facts.inputs:
            array = arrays[tensor.name]
            if len(array.shape) != len(tensor.shape):
                raise UsageError(f"{tensor.name} has the shape {array.shape}; it must be {tensor.layout}")
            check_array(array, tensor.name, array.shape, np.dtype(tensor.dtype))
        lane = self._lane({name: array.shape for name, array in arrays.items()}, staged=False)
        (slot,) = lane.slots
        (output,) = self.facts.outputs
        target = view_array(out, "out", self._memory, caller, written=True)
        check_array(target, "out", slot.context.output_shape(), np.dtype(output.dtype))
        self._scratch.take_turn(caller)
        slot.context.enqueue({name: array.ptr for name, array in arrays.items()} | {output.name: target.ptr}, caller)
        self._scratch.used_until(caller.record())

    @_on_device
    def measure(self, lr: Array, t_map: Array) -> Timing:
        slot = self._free_slot(to_engine(self.facts, lr, t_map))
        begin = time.perf_counter()
        first = self._into.record(timed=True)
        self._copy_in(slot)
        there = self._into.record(timed=True)
        self._work.wait(there)
        started = self._work.record(timed=True)
        given = time.perf_counter()
        done = self._launch(slot, timed=True)
        given = time.perf_counter() - given
        self._out.wait(done)
        leaving = self._out.record(timed=True)
        self._copy_out(slot)
        last = self._out.record(timed=True)
        last.sync()
        elapsed = self._memory.elapsed
        total = time.perf_counter() - begin
        return Timing(total, elapsed(started, done), elapsed(first, there), elapsed(leaving, last), given)

    @_on_device
    def profile_layers(self, lr: Array, t_map: Array) -> list[tuple[str, float]]:
        """In a context of its own: TensorRT's keep the profiler that they were given."""
        feed = to_engine(self.facts, lr, t_map)
        lane = self._new_lane({name: array.shape for name, array in feed.items()}, 1, staged=True)
        slot = _filled(lane, feed)

        def run() -> None:
            self._copy_in(slot)
            self._into.sync()
            self._scratch.take_turn(self._work)
            slot.context.enqueue(slot.addresses, self._work)
            self._scratch.used_until(self._work.record())
            self._work.sync()

        try:
            run()
            return self._engine.layer_times(slot.context, run)
        finally:
            with suppress(FxsrError):
                self._settle()
            lane.close()

    def device_memory(self) -> int:
        lanes = sum(lane.device_bytes for lane in self._lanes.values())
        return lanes + self._scratch.nbytes + self._engine.weight_bytes

    def close(self) -> None:
        """Whatever fails, as all does on a device that is lost, the rest is closed too."""
        with suppress(FxsrError), self._memory.current():
            for step in (self._settle, *(lane.close for lane in self._lanes.values()), self._scratch.close):
                with suppress(FxsrError):
                    step()
            self._lanes.clear()
            self._engine.close()
        with suppress(FxsrError):
            self._memory.close()

    @_on_device
    def _submit(self, lr: Array, t_map: Array) -> Slot:
        slot = self._free_slot(to_engine(self.facts, lr, t_map))
        self._copy_in(slot)
        self._work.wait(self._into.record())
        self._out.wait(self._launch(slot))
        self._copy_out(slot)
        slot.ready = self._out.record()
        slot.busy = True
        return slot

    def _collect(self, slot: Slot) -> Array:
        assert slot.ready is not None
        slot.busy = False
        slot.ready.sync()
        return from_graph(self.facts, slot.result)

    def _free_slot(self, feed: Mapping[str, Array]) -> Slot:
        """A slot for inputs of these shapes, with the inputs in its pinned memory."""
        return _filled(self._lane({name: array.shape for name, array in feed.items()}, staged=True), feed)

    def _copy_in(self, slot: Slot) -> None:
        for pinned, device in slot.inputs.values():
            self._memory.copy(device, pinned, pinned.nbytes, self._into)

    def _launch(self, slot: Slot, timed: bool = False) -> Event:
        """The engine's work: by itself the first time, as a graph from then on, where it can be one."""
        self._scratch.take_turn(self._work)
        if slot.graph is None and slot.warm and not slot.plain:
            if slot.context.can_be_captured(self._work):
                slot.graph = self._memory.capture(lambda s: slot.context.enqueue(slot.addresses, s), self._work)
            slot.plain = slot.graph is None
        if slot.graph is not None:
            slot.graph.launch(self._work)
        else:
            slot.context.enqueue(slot.addresses, self._work)
            slot.warm = True
        done = self._work.record(timed)
        self._scratch.used_until(done)
        return done

    def _copy_out(self, slot: Slot) -> None:
        pinned, device = slot.output
        self._memory.copy(pinned, device, pinned.nbytes, self._out)

    def _lane(self, shapes: Mapping[str, Shape], staged: bool) -> Lane:
        key = (staged, *shapes.items())
        lane = self._lanes.pop(key, None)
        if lane is None:
            count = self._depth if staged else 1
            try:
                lane = self._new_lane(shapes, count, staged)
            except OutOfMemoryError:
                room = self._drop_lanes(0)
                if not self._lanes and self._scratch.nbytes:  # or old and new would be needed at once
                    self._settle()
                    self._scratch.close()
                    room = True
                if not room:
                    raise
                lane = self._new_lane(shapes, count, staged)
        self._lanes[key] = lane  # the last one is the one used last
        self._drop_lanes(self._depth + 1)  # as many shapes as can be under way at once, and one more
        return lane

    def _new_lane(self, shapes: Mapping[str, Shape], count: int, staged: bool) -> Lane:
        lane = Lane(self._memory, self._engine, count)
        try:
            needed = max(slot.context.prepare(shapes, self._work) for slot in lane.slots)
            if staged:
                lane.allocate(self.facts, shapes)
            if self._scratch.nbytes < needed:
                self._settle()
                self._scratch.grow(needed)
                for other in self._lanes.values():
                    other.use_scratch(self._scratch)
            lane.use_scratch(self._scratch)
        except BaseException:
            lane.close()
            raise
        return lane

    def _drop_lanes(self, kept: int) -> bool:
        """Close idle lanes, the longest unused first, until so many are left. Whether any was closed."""
        dropped = False
        for key, lane in list(self._lanes.items()):
            if len(self._lanes) > kept and not lane.busy:
                if not dropped:
                    self._settle()
                lane.close()
                del self._lanes[key]
                dropped = True
        return dropped

    def _settle(self) -> None:
        """Wait until nothing is under way."""
        for stream in (self._into, self._work, self._out):
            stream.sync()
        self._scratch.wait()


def _filled(lane: Lane, feed: Mapping[str, Array]) -> Slot:
    """The lane's next slot, with inputs in its pinned memory."""
    slot = lane.next_slot()
    for name, array in feed.items():
        np.copyto(slot.staged[name], array)
    return slot
