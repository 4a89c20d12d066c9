"""How fast each model is, measured on the batches of earlier requests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock

from fxsr.runtime.session import Array, Session, SessionInfo

_FADE = 0.9
"""The weight of earlier batches relative to a new one, so that the pace follows changes of the machine's load."""


@dataclass(frozen=True)
class TileWork:
    """A number of tiles of one size for one model."""

    model: str
    uniform: bool
    """Whether all tiles have a single style instead of a style map."""
    size: tuple[int, int]
    """Height and width of a tile, as the session gets it."""
    tiles: int
    batch: int
    """Number of tiles in each batch."""

    @property
    def area(self) -> int:
        """LR pixels of all tiles."""
        return self.tiles * self.size[0] * self.size[1]


@dataclass(frozen=True)
class Execution:
    """A batch that a session has run."""

    work: TileWork
    seconds: float
    """Time since the batch before it was done, or since the session was given work."""


class TimedSession(Session):
    """A session that reports each batch that it has run.

    Args:
        name: the model's name, for the reports.
        session: runs the batches; closed by its owner.
        observe: called after each batch, in the thread that takes the results.
    """

    def __init__(self, name: str, session: Session, observe: Callable[[Execution], None]) -> None:
        self._name = name
        self._session = session
        self._observe = observe

    @property
    def info(self) -> SessionInfo:
        return self._session.info

    def run(self, lr: Array, t_map: Array) -> Array:
        begin = time.perf_counter()
        sr = self._session.run(lr, t_map)
        self._observe(Execution(self._work(lr, t_map), time.perf_counter() - begin))
        return sr

    def stream(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[Array]:
        given: deque[TileWork] = deque()

        def noted() -> Iterator[tuple[Array, Array]]:
            for lr, t_map in batches:
                given.append(self._work(lr, t_map))
                yield lr, t_map

        begin = time.perf_counter()
        for sr in self._session.stream(noted()):
            now = time.perf_counter()
            self._observe(Execution(given.popleft(), now - begin))
            begin = now  # with what the caller does to a result: tiles pass at the pace of both
            yield sr

    def device_memory(self) -> int | None:
        return self._session.device_memory()

    def close(self) -> None:
        """The session's owner closes it."""

    def _work(self, lr: Array, t_map: Array) -> TileWork:
        count, _, height, width = lr.shape
        return TileWork(self._name, t_map.shape[2:] == (1, 1), (height, width), count, count)


@dataclass
class _Rate:
    seconds: float = 0.0
    area: float = 0.0
    warm: bool = False
    """Whether the first batch of a kind is over, which takes longer than all others."""

    @property
    def known(self) -> bool:
        return self.area > 0

    def add(self, execution: Execution) -> None:
        if self.warm:
            self.seconds = _FADE * self.seconds + execution.seconds
            self.area = _FADE * self.area + execution.work.area
        self.warm = True

    @property
    def pace(self) -> float:
        """Seconds per LR pixel."""
        return self.seconds / self.area


class Pace:
    """Seconds per LR pixel of each model, measured apart for batches whose areas differ by more than a factor of two:
    small batches take longer for their area. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rates: dict[tuple[str, bool, int], _Rate] = {}

    def add(self, execution: Execution) -> None:
        """Learn from a batch."""
        work = execution.work
        with self._lock:
            self._rates.setdefault((work.model, work.uniform, _size_class(work)), _Rate()).add(execution)

    def seconds(self, work: TileWork) -> float | None:
        """Time that the device needs for this work, at least, in seconds. The fastest pace counts of batches that were
        as large or larger; for single styles, of those without maps. None: there were none yet."""
        least = _size_class(work)
        with self._lock:
            paces = [
                rate.pace
                for (model, uniform, size), rate in self._rates.items()
                if model == work.model and size >= least and uniform >= work.uniform and rate.known
            ]
        return work.area * min(paces) if paces else None


def _size_class(work: TileWork) -> int:
    return (work.batch * work.size[0] * work.size[1]).bit_length()
