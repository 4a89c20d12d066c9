"""A device in host memory, for testing the real scheduling and session without a GPU.

New memory is poisoned, addresses are checked, and allocations are counted. Streams are lazy: work runs only when
somebody waits for it, so that a missing event, or a buffer that is reused too early, gives wrong pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import DeviceError, OutOfMemoryError
from fxsr.runtime.device.protocols import Block, DeviceMemory, Event, Graph, Stream

ALIGNMENT = 256
_POISON = 0xCD


class HostMemory(DeviceMemory):
    """Host memory as a device of `limit` bytes."""

    def __init__(self, limit: int = 1 << 30, graphs: bool = True, restless: bool = False) -> None:
        self.limit = limit
        self.restless = restless
        """Run all other streams whenever one runs, so that work overlaps unless events prevent it."""
        self.used = 0
        self.graphs = graphs
        self.captured = 0
        self.closed = False
        self.is_current = False
        self._live: dict[int, Block] = {}
        self.streams: dict[int, HostStream] = {}

    @property
    def name(self) -> str:
        return "host"

    @property
    def dlpack_device(self) -> tuple[int, int]:
        return 1, 0

    @property
    def pci(self) -> str:
        return "0000:01:00.0"

    @contextmanager
    def current(self) -> Iterator[None]:
        before, self.is_current = self.is_current, True
        yield
        self.is_current = before

    def alloc(self, nbytes: int) -> Block:
        return self._add(nbytes, pinned=False)

    def alloc_pinned(self, nbytes: int) -> Block:
        return self._add(nbytes, pinned=True)

    def free(self, block: Block) -> None:
        del self._live[block.ptr]  # KeyError: freed twice
        block.owner[:] = _POISON
        self.used -= block.nbytes

    def stream(self) -> HostStream:
        return self.foreign_stream(len(self.streams) + 1)

    def foreign_stream(self, stream: Any) -> HostStream:
        handle = int(stream or 0)
        return self.streams.setdefault(handle, HostStream(self, handle, self.streams if self.restless else {}))

    def copy(self, target: Block, source: Block, nbytes: int, stream: Stream) -> None:
        into, out_of = self.span(target.ptr, nbytes), self.span(source.ptr, nbytes)
        self.streams[stream.handle].give(lambda: np.copyto(into, out_of))

    def elapsed(self, first: Event, last: Event) -> float:
        assert isinstance(first, HostEvent)
        assert isinstance(last, HostEvent)
        assert first.timed
        assert last.timed
        return 0.001

    def available(self) -> tuple[int, int]:
        assert self.is_current
        return self.limit - self.used, self.limit

    def capture(self, work: Callable[[Stream], None], stream: Stream) -> Graph | None:
        if not self.graphs:
            return None
        into = self.streams[stream.handle]
        whole, into.work = into.work, []
        work(into)
        recorded, into.work = into.work, whole
        self.captured += 1
        return HostGraph(recorded)

    def close(self) -> None:
        assert not self._live, f"{len(self._live)} blocks were never freed"
        self.closed = True

    def span(self, ptr: int, nbytes: int) -> NDArray[np.uint8]:
        """The bytes at an address. The address must be allocated."""
        for block in self._live.values():
            if block.ptr <= ptr and ptr + nbytes <= block.ptr + block.nbytes:
                at = ptr - block.ptr
                found: NDArray[np.uint8] = block.owner[at : at + nbytes]
                return found
        raise DeviceError(f"host: illegal address {ptr:#x}")

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """An array in this memory, as another library would own it."""
        with self.current():
            block = self.alloc(values.nbytes)
        mine = block.owner.view(values.dtype).reshape(values.shape)
        mine[...] = values
        return np.asarray(mine)

    def _add(self, nbytes: int, pinned: bool) -> Block:
        assert self.is_current
        if nbytes > self.limit - self.used:
            raise OutOfMemoryError("host: not enough memory")
        room = np.full(nbytes + ALIGNMENT, _POISON, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        bytes_ = room[start : start + nbytes]
        block = Block(int(bytes_.ctypes.data), nbytes, bytes_ if pinned else None, bytes_)
        self._live[block.ptr] = block
        self.used += nbytes
        return block


class HostStream(Stream):
    """Work that runs only when somebody waits for it."""

    def __init__(self, memory: HostMemory, handle: int, others: Mapping[int, HostStream]) -> None:
        self._memory = memory
        self._handle = handle
        self._others = others
        self.work: list[Callable[[], None]] = []
        self.done = 0
        self._active = False

    @property
    def handle(self) -> int:
        return self._handle

    def give(self, work: Callable[[], None]) -> None:
        self.work.append(work)

    def record(self, timed: bool = False) -> HostEvent:
        assert self._memory.is_current
        return HostEvent(self, self.done + self._active + len(self.work), timed)

    def wait(self, event: Event) -> None:
        assert isinstance(event, HostEvent)
        self.give(event.sync)

    def sync(self) -> None:
        self.run_until(self.done + self._active + len(self.work))

    def run_until(self, count: int) -> None:
        while self.done < count:
            self._step()
            for other in list(self._others.values()):
                if other.can_run:
                    other._step()

    @property
    def can_run(self) -> bool:
        if not self.work or self._active:
            return False
        event = getattr(self.work[0], "__self__", None)
        return not isinstance(event, HostEvent) or event.passed

    def _step(self) -> None:
        self._active = True
        self.work.pop(0)()
        self._active = False
        self.done += 1


class HostEvent(Event):
    def __init__(self, stream: HostStream, count: int, timed: bool) -> None:
        self._stream = stream
        self._count = count
        self.timed = timed

    @property
    def passed(self) -> bool:
        return self._stream.done >= self._count

    def sync(self) -> None:
        self._stream.run_until(self._count)


class HostGraph(Graph):
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._work = work
        self.closed = False

    def launch(self, stream: Stream) -> None:
        assert isinstance(stream, HostStream)
        assert not self.closed
        for each in self._work:
            stream.give(each)

    def close(self) -> None:
        assert not self.closed
        self.closed = True
