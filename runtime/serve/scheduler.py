"""Tiles of all requests in flight, in shared batches through the sessions of one device, request by request in turns.

One thread owns the sessions. It takes the request that has waited longest, and fills a batch with that one's next tile
and those of others that fit: the same model, the same size, a style map or a single style. So a request of one tile
waits for about as many batches as there are requests, however many tiles the others have.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Condition, Thread

import numpy as np

from fxsr.errors import FxsrError, OutOfMemoryError, first_line
from fxsr.runtime.session import Array, Closable, Session, SessionInfo
from fxsr.runtime.upscale.batches import upscale_tiles
from fxsr.runtime.upscale.tiles import DEFAULT_TILE

_CPU_AREA = 64**2
"""LR pixels of a batch on a CPU: from there on nothing is gained, and beyond its caches something lost."""
_FAILING_SECONDS = 10
_AHEAD = 32
"""Tiles of one request that may wait at most: what is in memory of it, beside its rows."""


class RequestAbandonedError(FxsrError):
    """A request's work was given up: whoever asked is gone, or time is up."""


@dataclass(frozen=True)
class TileKind:
    """What tiles must have in common to share a batch."""

    model: str
    uniform: bool
    size: tuple[int, int]
    """That they are filled up to: an engine may take one only."""


@dataclass(eq=False)
class Ticket:
    """A tile that waits for its turn, and then for its result; a `fxsr.runtime.upscale.batches.Tiled`."""

    lr: Array
    t_map: Array
    kind: TileKind
    result: Future[Array] = field(default_factory=Future)


@dataclass(frozen=True)
class BatchReport:
    """What is told of a batch that is done."""

    model: str
    tiles: int
    waiting: int
    """Tiles that wait, of all requests."""
    device_bytes: int | None


class Scheduler(Closable):
    """Owns sessions, in a thread of its own.

    Args:
        open_sessions: called in that thread; sessions by name.
        batch: tiles in a batch at most; None: an engine's largest batch, or as many as make up one tile of 256x256, on
            a CPU of 64x64.
        observe: told of every batch, in that thread.

    Raises:
        FxsrError: a session can't be opened.
    """

    def __init__(
        self,
        open_sessions: Callable[[], Mapping[str, Session]],
        batch: int | None = None,
        observe: Callable[[BatchReport], None] = lambda batch: None,
    ) -> None:
        self._batch = batch
        self._observe = observe
        self._change = Condition()
        self._flows: list[Flow] = []
        """Those with tiles that wait, the longest unserved first."""
        self._closed = False
        self._failing: dict[str, tuple[str, float]] = {}
        """What a model's last batch failed of, and when."""
        started: Future[dict[str, SessionInfo]] = Future()
        self._thread = Thread(target=self._work, args=(open_sessions, started), name="scheduler", daemon=True)
        self._thread.start()
        self.models: Mapping[str, SessionInfo] = started.result()

    @property
    def waiting(self) -> int:
        """Tiles that wait, of all requests."""
        with self._change:
            return self._waiting()

    def flow(self, model: str) -> Flow:
        """What a request takes for a session of this model. Tiles of one flow come in order."""
        return Flow(self, model, self.models[model])

    def kind(self, model: str, lr: Array, t_map: Array) -> TileKind:
        """Of a tile, (3, h, w) and (1, h, w) or (1, 1, 1)."""
        return TileKind(model, t_map.shape[1:] == (1, 1), self.models[model].filled(*lr.shape[1:]))

    def most(self, kind: TileKind) -> int:
        """How many tiles of a kind share a batch at most."""
        info = self.models[kind.model]
        if info.tile:  # an engine: what it was built for
            return min(self._batch or info.batch, info.batch)
        area = _CPU_AREA if info.device.is_cpu else DEFAULT_TILE**2
        return self._batch or max(info.batch, min(_AHEAD, area // (kind.size[0] * kind.size[1])))

    def failing(self, model: str) -> str | None:
        """What a model's last batch failed of, if that was just now: unless it is tried again, nobody knows."""
        reason, when = self._failing.get(model, (None, 0.0))
        return reason if time.monotonic() - when < _FAILING_SECONDS else None

    def put(self, flow: Flow, tickets: Iterable[Ticket]) -> None:
        """Let tiles wait for their turn.

        Raises:
            FxsrError: the scheduler is closed.
        """
        with self._change:
            if self._closed:
                raise RequestAbandonedError("the server is stopping")
            flow.tickets.extend(tickets)
            if flow not in self._flows:
                self._flows.append(flow)
            self._change.notify_all()

    def drop(self, flow: Flow) -> None:
        """Forget what waits of a flow."""
        with self._change:
            flow.tickets.clear()
            if flow in self._flows:
                self._flows.remove(flow)

    def close(self) -> None:
        """End the thread and close the sessions; what still waits fails."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _work(
        self, open_sessions: Callable[[], Mapping[str, Session]], started: Future[dict[str, SessionInfo]]
    ) -> None:
        try:
            sessions = open_sessions()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result({name: session.info for name, session in sessions.items()})
        try:
            while kind := self._next():
                self._run(sessions[kind.model], kind)
        finally:
            for session in sessions.values():
                session.close()
            with self._change:
                for flow in self._flows:
                    _fail(flow.tickets, RequestAbandonedError("the server is stopping"))

    def _next(self) -> TileKind | None:
        """The kind whose turn it is; waits for one. None: there will be no more."""
        with self._change:
            self._change.wait_for(lambda: self._flows or self._closed)
            return None if self._closed else self._flows[0].tickets[0].kind

    def _run(self, session: Session, kind: TileKind) -> None:
        """Tiles of a kind, until it is another one's turn."""
        taken: deque[Ticket] = deque()
        most = self.most(kind)
        try:
            for ticket, sr in upscale_tiles(session, self._turns(session, kind, most, taken), lambda text: None, most):
                taken.popleft()
                with suppress(InvalidStateError):  # given up in the meantime
                    ticket.result.set_result(sr)
            self._failing.pop(kind.model, None)
        except OutOfMemoryError as error:  # smaller tiles have been tried
            _fail(taken, FxsrError(str(error)))
        except Exception as error:
            self._failing[kind.model] = (first_line(error), time.monotonic())
            _fail(taken, error)

    def _turns(self, session: Session, kind: TileKind, most: int, taken: deque[Ticket]) -> Iterator[Ticket]:
        while batch := self._take(kind, most):
            taken.extend(batch)
            yield from batch
            self._observe(BatchReport(kind.model, len(batch), self.waiting, session.device_memory()))

    def _take(self, kind: TileKind, most: int) -> list[Ticket]:
        """A batch of tickets of a kind, from all flows by turns; none if the first in line is of another."""
        batch: list[Ticket] = []
        with self._change:
            if self._closed or not self._flows or self._flows[0].tickets[0].kind != kind:
                return batch
            while len(batch) < most:
                served = [flow for flow in self._flows if flow.tickets[0].kind == kind][: most - len(batch)]
                if not served:
                    break
                batch += [flow.tickets.popleft() for flow in served]
                others = [flow for flow in self._flows if flow not in served]
                self._flows = others + [flow for flow in served if flow.tickets]
        return batch

    def _waiting(self) -> int:
        return sum(len(flow.tickets) for flow in self._flows)


class Flow(Session):
    """The tiles of one request: a session to whoever upscales an image, though others share it."""

    def __init__(self, scheduler: Scheduler, model: str, info: SessionInfo) -> None:
        self._scheduler = scheduler
        self._model = model
        self._info = replace(info, batch=1, least=(1, 1, 1))  # the scheduler makes batches, and fills tiles up
        self._abandoned: str | None = None
        self._pending: deque[list[Ticket]] = deque()
        self.tickets: deque[Ticket] = deque()
        """Tiles that wait; the scheduler's."""

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        (sr,) = self.stream([(lr, t_map)])
        return sr

    def stream(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[Array]:
        for lr, t_map in batches:
            tickets = []
            for one, style in zip(lr, np.broadcast_to(t_map, (len(lr), *t_map.shape[1:])), strict=True):
                tickets.append(Ticket(one, style, self._scheduler.kind(self._model, one, style)))
            if len(self._pending) >= min(_AHEAD, 2 * self._scheduler.most(tickets[0].kind)):
                yield self._oldest()
            self._pending.append(tickets)
            self._scheduler.put(self, tickets)
            if self._abandoned:  # while they were being put
                self.abandon(self._abandoned)
        while self._pending:
            yield self._oldest()

    def abandon(self, reason: str) -> None:
        """Give up, from any thread: waiting tiles are dropped; who waits for one gets a `RequestAbandonedError`."""
        self._abandoned = reason
        self._scheduler.drop(self)
        _fail([ticket for tickets in list(self._pending) for ticket in tickets], RequestAbandonedError(reason))

    def close(self) -> None:
        self._scheduler.drop(self)

    def _oldest(self) -> Array:
        results = [ticket.result.result() for ticket in self._pending[0]]
        self._pending.popleft()
        return np.stack(results).astype(self._info.dtype, copy=False)


def _fail(tickets: Iterable[Ticket], error: Exception) -> None:
    for ticket in tickets:
        with suppress(InvalidStateError):
            ticket.result.set_exception(error)
