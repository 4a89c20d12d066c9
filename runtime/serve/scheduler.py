"""Runs the tiles of all requests in flight through the sessions of one device, in shared batches and in turns.

One thread owns the sessions. It takes the next tile of the request that has waited longest, and fills the batch with
tiles of other requests that can share it: of the same model, the same size, and all with a style map or all without.
So a request of one tile waits for about as many batches as there are requests, however many tiles the others have.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Condition, Thread

import numpy as np

from fxsr.errors import DeviceLostError, FxsrError, OutOfMemoryError, first_line
from fxsr.runtime.serve.pace import Execution, TimedSession
from fxsr.runtime.session import Array, Closable, Session, SessionInfo
from fxsr.runtime.upscale.batches import upscale_tiles
from fxsr.runtime.upscale.tiles import DEFAULT_TILE

_CPU_AREA = 64**2
"""LR pixels of a batch on a CPU: larger batches are not faster, and slower once they exceed its caches."""
_FAILING_SECONDS = 10
"""How long a model counts as failing after its last failed batch."""
_AHEAD = 32
"""Largest number of tiles of one request that wait at the same time, which bounds the memory of a request."""


class RequestAbandonedError(FxsrError):
    """A request's work was abandoned: the client is gone, the time is up, or the server is stopping."""


@dataclass(frozen=True)
class TileKind:
    """What tiles must have in common to share a batch."""

    model: str
    uniform: bool
    size: tuple[int, int]
    """Height and width after padding, which the session decides: an engine may take one size only."""


@dataclass(eq=False)
class Ticket:
    """A tile that waits for its turn and then for its result; a `fxsr.runtime.upscale.batches.StyledTile`."""

    lr: Array
    t_map: Array
    kind: TileKind
    result: Future[Array] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class BatchReport:
    """Figures of a finished batch."""

    model: str
    tiles: int
    waiting: int
    """Waiting tiles of all requests."""
    device_bytes: int | None
    """Device memory that the session uses; None: unknown."""
    waited: float
    """Seconds that its tiles waited, together."""


class Scheduler(Closable):
    """Owns sessions, in a thread of its own.

    Args:
        open_sessions: returns sessions by name; called in that thread.
        batch: largest number of tiles in a batch; None: an engine's largest batch, otherwise as many as cover 256x256
            pixels, or on a CPU 64x64.
        observe: called after every batch, in that thread.
        on_device_lost: called, in that thread, when the device has failed such that only another process can use it.
            All models count as failing from then on.
        executed: called after every run of a session, in that thread.

    Raises:
        FxsrError: a session can't be opened.
    """

    def __init__(
        self,
        open_sessions: Callable[[], Mapping[str, Session]],
        batch: int | None = None,
        observe: Callable[[BatchReport], None] = lambda batch: None,
        on_device_lost: Callable[[DeviceLostError], None] = lambda error: None,
        executed: Callable[[Execution], None] = lambda execution: None,
    ) -> None:
        self._batch = batch
        self._observe = observe
        self._on_device_lost = on_device_lost
        self._executed = executed
        self._change = Condition()
        self._flows: list[Flow] = []
        """Flows with waiting tiles; the one that has waited longest is first."""
        self._closed = False
        self._failing: dict[str, tuple[str, float]] = {}
        """Why the last batch of a model failed, and when; infinity if its device is lost."""
        started: Future[dict[str, SessionInfo]] = Future()
        self._thread = Thread(target=self._work, args=(open_sessions, started), name="scheduler", daemon=True)
        self._thread.start()
        self.models: Mapping[str, SessionInfo] = started.result()

    @property
    def waiting(self) -> int:
        """Number of waiting tiles, of all requests."""
        with self._change:
            return self._waiting()

    def flow(self, model: str) -> Flow:
        """A session of this model for one request. Its tiles are upscaled in order."""
        return Flow(self, model, self.models[model])

    def kind(self, model: str, lr: Array, t_map: Array) -> TileKind:
        """The kind of a tile: `lr` is (3, h, w), `t_map` (1, h, w) or (1, 1, 1)."""
        return TileKind(model, t_map.shape[1:] == (1, 1), self.models[model].filled(*lr.shape[1:]))

    def most(self, kind: TileKind) -> int:
        """Largest number of tiles of a kind in a batch."""
        info = self.models[kind.model]
        if info.tile:  # an engine takes no more than it was built for
            return min(self._batch or info.batch, info.batch)
        area = _CPU_AREA if info.device.is_cpu else DEFAULT_TILE**2
        return self._batch or max(info.batch, min(_AHEAD, area // (kind.size[0] * kind.size[1])))

    def failing(self, model: str) -> str | None:
        """Why a model's last batch failed, if that was recently. Later, only another batch can tell.

        A lost device stays lost.
        """
        reason, when = self._failing.get(model, (None, 0.0))
        return reason if time.monotonic() - when < _FAILING_SECONDS else None

    def put(self, flow: Flow, tickets: Iterable[Ticket]) -> None:
        """Queue tiles of a flow.

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
        """Drop the waiting tiles of a flow."""
        with self._change:
            flow.tickets.clear()
            if flow in self._flows:
                self._flows.remove(flow)

    def close(self) -> None:
        """End the thread and close the sessions; tiles that still wait fail."""
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
                self._run(TimedSession(kind.model, sessions[kind.model], self._executed), kind)
        finally:
            for session in sessions.values():
                session.close()
            with self._change:
                for flow in self._flows:
                    _fail(flow.tickets, RequestAbandonedError("the server is stopping"))

    def _next(self) -> TileKind | None:
        """The kind of the next batch; waits for a tile. None: the scheduler is closed."""
        with self._change:
            self._change.wait_for(lambda: self._flows or self._closed)
            return None if self._closed else self._flows[0].tickets[0].kind

    def _run(self, session: Session, kind: TileKind) -> None:
        """Upscale batches of one kind until it is another kind's turn."""
        taken: deque[Ticket] = deque()
        most = self.most(kind)
        try:
            for ticket, sr in upscale_tiles(session, self._turns(session, kind, most, taken), lambda text: None, most):
                taken.popleft()
                with suppress(InvalidStateError):  # the request was abandoned meanwhile
                    ticket.result.set_result(sr)
            self._failing.pop(kind.model, None)
        except OutOfMemoryError as error:  # even with smaller tiles
            _fail(taken, FxsrError(str(error)))
        except DeviceLostError as error:
            self._failing = dict.fromkeys(self.models, (first_line(error), math.inf))
            _fail(taken, error)
            self._on_device_lost(error)
        except Exception as error:
            self._failing[kind.model] = (first_line(error), time.monotonic())
            _fail(taken, error)

    def _turns(self, session: Session, kind: TileKind, most: int, taken: deque[Ticket]) -> Iterator[Ticket]:
        while batch := self._take(kind, most):
            now = time.perf_counter()
            waited = sum(now - ticket.since for ticket in batch)
            taken.extend(batch)
            yield from batch
            self._observe(BatchReport(kind.model, len(batch), self.waiting, session.device_memory(), waited))

    def _take(self, kind: TileKind, most: int) -> list[Ticket]:
        """A batch of tickets of a kind, from all flows in turns; empty if the first in line is of another kind."""
        batch: list[Ticket] = []
        with self._change:
            if self._closed or not self._flows or self._flows[0].tickets[0].kind != kind:
                return batch
            while len(batch) < most:
                chosen = [flow for flow in self._flows if flow.tickets[0].kind == kind][: most - len(batch)]
                if not chosen:
                    break
                batch += [flow.tickets.popleft() for flow in chosen]
                others = [flow for flow in self._flows if flow not in chosen]
                self._flows = others + [flow for flow in chosen if flow.tickets]
        return batch

    def _waiting(self) -> int:
        return sum(len(flow.tickets) for flow in self._flows)


class Flow(Session):
    """A session for one request, whose tiles share batches with those of other requests."""

    def __init__(self, scheduler: Scheduler, model: str, info: SessionInfo) -> None:
        self._scheduler = scheduler
        self._model = model
        self._info = replace(info, batch=1, least=(1, 1, 1))  # the scheduler forms batches and pads tiles
        self._abandoned: str | None = None
        self._pending: deque[list[Ticket]] = deque()
        self.tickets: deque[Ticket] = deque()
        """Waiting tiles; owned by the scheduler."""
        self.finished = 0
        """Number of tiles that are upscaled."""

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
            if self._abandoned:  # while they were being queued
                self.abandon(self._abandoned)
        while self._pending:
            yield self._oldest()

    def check(self) -> None:
        """Stop work that nobody waits for any more.

        Raises:
            RequestAbandonedError: the request was abandoned.
        """
        if self._abandoned:
            raise RequestAbandonedError(self._abandoned)

    def abandon(self, reason: str) -> None:
        """Drop all tiles; may be called from any thread. Whoever waits for one gets a `RequestAbandonedError`."""
        self._abandoned = reason
        self._scheduler.drop(self)
        _fail([ticket for tickets in list(self._pending) for ticket in tickets], RequestAbandonedError(reason))

    def close(self) -> None:
        self._scheduler.drop(self)

    def _oldest(self) -> Array:
        results = [ticket.result.result() for ticket in self._pending[0]]
        self._pending.popleft()
        self.finished += len(results)
        return np.stack(results).astype(self._info.dtype, copy=False)


def _fail(tickets: Iterable[Ticket], error: Exception) -> None:
    for ticket in tickets:
        with suppress(InvalidStateError):
            ticket.result.set_exception(error)
