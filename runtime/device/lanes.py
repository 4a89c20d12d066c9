"""What batches on a device need while they are in flight: contexts, memory on both sides, and scratch memory.

Each batch in flight has a slot: pinned memory for both directions, device memory, and an execution context. The slots
for one shape form a lane. `fxsr.runtime.device.session` schedules work on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from fxsr.errors import FxsrError, UsageError
from fxsr.models.manifest import ModelFacts, Shape
from fxsr.runtime.device.protocols import Block, DeviceMemory, Event, Graph, Stream
from fxsr.runtime.session import Array, Closable


class Context(Closable, Protocol):
    """An engine's state for inputs of one shape."""

    def prepare(self, shapes: Mapping[str, Shape], stream: Stream) -> int:
        """Prepare for inputs of these shapes, by name, and return the bytes of scratch memory that they need.

        Raises:
            UsageError: the engine does not take these shapes.
        """
        ...

    def output_shape(self) -> Shape:
        """Shape of the output for the shapes that were prepared."""
        ...

    def use_scratch(self, memory: Block) -> None:
        """Use this scratch memory from now on."""
        ...

    def can_be_captured(self, stream: Stream) -> bool:
        """Whether the work of `enqueue` can be captured as a graph."""
        ...

    def enqueue(self, addresses: Mapping[str, int], stream: Stream) -> None:
        """Submit the work to a stream.

        Args:
            addresses: device addresses of inputs and output, by name.

        Raises:
            FxsrError: the engine refuses it.
        """
        ...


class Engine(Closable, Protocol):
    """A model on a device. It creates contexts, which share its weights."""

    @property
    def facts(self) -> ModelFacts:
        """The graph that it runs."""
        ...

    @property
    def weight_bytes(self) -> int:
        """Device memory that the weights take, in bytes."""
        ...

    def context(self) -> Context:
        """Create a context."""
        ...

    def keep_compiled(self) -> None:
        """Keep for later processes what was compiled for new shapes, if anything was. Called after such a shape ran."""
        ...

    def layer_times(self, context: Context, run: Callable[[], None]) -> list[tuple[str, float]]:
        """Name and seconds of each layer, while `run` runs the context once. Close the context then: it may stay
        slow."""
        ...


class Slot:
    """What one batch needs while it is in flight."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.inputs: dict[str, tuple[Block, Block]] = {}
        """Pinned and device memory, by name."""
        self.staged: dict[str, Array] = {}
        """Pinned memory of the inputs as arrays."""
        self.output: tuple[Block, Block]
        self.result: Array
        """Pinned memory of the output as an array."""
        self.addresses: dict[str, int] = {}
        self.ready: Event | None = None
        self.busy = False
        self.graph: Graph | None = None
        self.warm = False
        """Whether the engine has run once in this shape, as it must before its work can be captured."""
        self.uncapturable = False
        """Whether an attempt to capture the work has failed."""

    def forget_graph(self) -> None:
        if self.graph is not None:
            self.graph.close()
        self.graph, self.warm = None, False


class Lane(Closable):
    """Slots for one shape, which take turns."""

    def __init__(self, memory: DeviceMemory, engine: Engine, count: int) -> None:
        self._memory = memory
        self._blocks: list[Block] = []
        self.slots = [Slot(engine.context()) for _ in range(count)]

    @property
    def busy(self) -> bool:
        return any(slot.busy for slot in self.slots)

    @property
    def device_bytes(self) -> int:
        return sum(block.nbytes for block in self._blocks if block.host is None)

    def next_slot(self) -> Slot:
        """The slot that was used longest ago.

        Raises:
            UsageError: its result has not been taken yet.
        """
        slot = self.slots.pop(0)
        self.slots.append(slot)
        if slot.busy:
            raise UsageError("`stream` has results that were not taken; take them all before giving other work")
        return slot

    def allocate(self, facts: ModelFacts, shapes: Mapping[str, Shape]) -> None:
        (output,) = facts.outputs
        for slot in self.slots:
            for tensor in facts.inputs:
                dtype = np.dtype(tensor.dtype)
                slot.inputs[tensor.name] = pair = self._pair(shapes[tensor.name], dtype)
                slot.staged[tensor.name] = pair[0].view(shapes[tensor.name], dtype)
                slot.addresses[tensor.name] = pair[1].ptr
            shape, dtype = slot.context.output_shape(), np.dtype(output.dtype)
            slot.output = self._pair(shape, dtype)
            slot.result = slot.output[0].view(shape, dtype)
            slot.addresses[output.name] = slot.output[1].ptr

    def use_scratch(self, scratch: Scratch) -> None:
        for slot in self.slots:
            slot.forget_graph()
            if scratch.block is not None:
                slot.context.use_scratch(scratch.block)

    def close(self) -> None:
        for slot in self.slots:
            slot.forget_graph()
            slot.context.close()
        for block in self._blocks:
            with suppress(FxsrError):  # the device may be lost; try to free the other blocks
                self._memory.free(block)
        self._blocks.clear()

    def _pair(self, shape: Shape, dtype: np.dtype[Any]) -> tuple[Block, Block]:
        nbytes = int(np.prod(shape)) * dtype.itemsize
        pinned = self._memory.alloc_pinned(nbytes)
        self._blocks.append(pinned)
        device = self._memory.alloc(nbytes)
        self._blocks.append(device)
        return pinned, device


class Scratch(Closable):
    """Memory for the activations between an engine's input and output. All contexts share it, since they take turns."""

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self.block: Block | None = None
        self._last: Event | None = None

    @property
    def nbytes(self) -> int:
        return self.block.nbytes if self.block else 0

    def grow(self, nbytes: int) -> None:
        """Replace the block by a larger one. Nothing may be in flight. If allocation fails, the old block stays."""
        larger = self._memory.alloc(nbytes)
        self.close()
        self.block = larger

    def take_turn(self, stream: Stream) -> None:
        """Make the stream wait for the last work that uses the block."""
        if self._last is not None:
            stream.wait(self._last)

    def used_until(self, event: Event) -> None:
        """Record that work up to this event uses the block."""
        self._last = event

    def wait(self) -> None:
        """Wait on the CPU until no work uses the block."""
        if self._last is not None:
            self._last.sync()

    def close(self) -> None:
        if self.block is not None:
            self._memory.free(self.block)
        self.block = None
