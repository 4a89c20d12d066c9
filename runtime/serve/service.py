"""The models of a server, and the threads in which requests and jobs are done next to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from fxsr.errors import DeviceLostError, FxsrError
from fxsr.runtime.serve.backlog import Backlog, Lane, Piece
from fxsr.runtime.serve.exchange import Receive
from fxsr.runtime.serve.pace import Execution, Pace, TileWork
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import BatchReport, Flow, Scheduler, TileKind
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.serve.statistics import Statistics
from fxsr.runtime.session import Closable, Session, SessionInfo
from fxsr.runtime.upscale.tiles import plan_axis
from fxsr.runtime.upscale.upscaler import Upscaler

T = TypeVar("T")
_CHECKED_EVERY = 0.2
"""Seconds between the forecasts of a request that is being done."""
_SMALL = 1 << 20
"""Requests up to this size, in bytes, have threads of their own."""


@dataclass(frozen=True)
class ServedModel:
    """A model as clients see it."""

    name: str
    info: SessionInfo
    tile: int
    """Largest tile side, LR pixels."""
    overlap: int
    """LR pixels that neighbouring tiles share."""

    def upscaler(self, flow: Flow) -> Upscaler:
        """What upscales the images of one request, whose flow is of this model."""
        return Upscaler(flow, self.tile, self.overlap)


@dataclass(frozen=True)
class ImageSizes:
    """Images of one size that a request brings."""

    width: int
    height: int
    uniform: bool
    """Whether they have a single style instead of style maps."""
    count: int = 1


class Service(Closable):
    """Models on one device, and threads for the requests.

    Args:
        open_upscalers: returns upscalers by name, in the order in which models are listed; called in the thread that
            uses their sessions.
        settings: limits.
        batch, observe, on_device_lost: see `Scheduler`.

    Raises:
        FxsrError: a model can't be opened.
    """

    def __init__(
        self,
        open_upscalers: Callable[[], Mapping[str, Upscaler]],
        settings: Settings,
        batch: int | None = None,
        observe: Callable[[BatchReport], None] = lambda batch: None,
        on_device_lost: Callable[[DeviceLostError], None] = lambda error: None,
    ) -> None:
        models: dict[str, ServedModel] = {}

        def sessions() -> Mapping[str, Session]:
            upscalers = open_upscalers()
            for name, up in upscalers.items():
                info = up.session.info
                models[name] = ServedModel(name, info, up.tile, up.overlap)
            return {name: up.session for name, up in upscalers.items()}

        self.statistics = Statistics()
        pace = Pace()

        def report(batch: BatchReport) -> None:
            self.statistics.batch(batch)
            observe(batch)

        def executed(execution: Execution) -> None:
            pace.add(execution)
            self.statistics.execution(execution)

        self.settings = settings
        self.scheduler = Scheduler(sessions, batch, report, on_device_lost, executed)
        self.models: Mapping[str, ServedModel] = models
        self.backlog = Backlog(pace, {Lane.SMALL: settings.at_once, Lane.LARGE: settings.at_once, Lane.JOBS: 1})
        self._measuring = ThreadPoolExecutor(settings.at_once, "request-measuring")
        self._large = ThreadPoolExecutor(settings.at_once, "request")
        self._small = ThreadPoolExecutor(settings.at_once, "request-small")

    @property
    def default(self) -> ServedModel:
        """The model for requests that don't name one."""
        return next(iter(self.models.values()))

    def find(self, name: str, status: int = HTTPStatus.NOT_FOUND) -> ServedModel:
        """A model by its name.

        Raises:
            ProblemError: there is none; with this status.
        """
        try:
            return self.models[name]
        except KeyError:
            raise ProblemError(status, f"no such model; there are {', '.join(self.models)}") from None

    def tile_work(self, model: ServedModel, images: ImageSizes) -> TileWork:
        """The tiles of images, without those of transparency, which may cost nothing."""
        down, across = (plan_axis(side, model.tile, model.overlap) for side in (images.height, images.width))
        tiles = images.count * len(down.starts) * len(across.starts)
        kind = TileKind(model.name, images.uniform, model.info.filled(down.size, across.size))
        return TileWork(model.name, images.uniform, kind.size, tiles, min(tiles, self.scheduler.most(kind)))

    def check_ready(self, *models: str) -> None:
        """Refuse if none of these models works.

        Raises:
            ProblemError: the last batch of each failed recently.
        """
        failing = [self.scheduler.failing(name) for name in models]
        if all(failing):
            raise ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, f"the last batch failed: {failing[0]}")

    async def attend(
        self,
        model: ServedModel,
        receive: Receive,
        work: Callable[[Flow], T],
        sent: int = 0,
        release: Callable[[], None] = lambda: None,
        measure: Callable[[], TileWork | None] = lambda: None,
    ) -> T:
        """Do a request's work in a thread; abandon it if the client disconnects.

        Args:
            receive: the request's ASGI callable; the body has been read.
            work: does the work, with a session of its own for its tiles.
            sent: size of the request in bytes. Small requests have threads of their own, and don't wait behind large
                ones.
            release: called when abandoned work has ended.
            measure: called before, in a thread: prepares the work, and returns its tiles. None: they are unknown.

        Raises:
            ProblemError: the client disconnected, which `Guard` counts apart, the work can't be done in time, as was
                known before or the first batches showed, or it failed.
        """
        flow = self.scheduler.flow(model.name)
        lane, pool = (Lane.SMALL, self._small) if sent <= _SMALL else (Lane.LARGE, self._large)
        parts: list[Future[Any]] = []
        with self.statistics.request(model.name), _failures(parts, release), _task(_disconnection(receive)) as gone:
            try:
                piece = Piece(lane, await _part(self._measuring, measure, parts, gone), flow)
                with self.backlog.accepted(piece, self.settings.seconds), _task(self._lateness(piece)) as late:
                    return await _part(pool, lambda: work(flow), parts, gone, late)
            except BaseException:  # a cancellation at the time limit is one
                flow.abandon("abandoned")
                raise

    async def prepare(self, receive: Receive, measure: Callable[[], T], release: Callable[[], None]) -> T:
        """Do the first part of a job's work, before the client is answered. Arguments and errors are as in `attend`."""
        parts: list[Future[Any]] = []
        with _failures(parts, release), _task(_disconnection(receive)) as gone:
            return await _part(self._measuring, measure, parts, gone)

    async def _lateness(self, piece: Piece) -> NoReturn:
        """Wait until it shows that a piece, which is being done, can't be done in time.

        Raises:
            ProblemError: it shows.
        """
        clock = asyncio.get_running_loop().time
        begin = clock()
        while True:
            await asyncio.sleep(_CHECKED_EVERY)
            self.backlog.check(piece, self.settings.seconds, clock() - begin)

    def close(self) -> None:
        """Wait for running work, and close the sessions."""
        for pool in (self._measuring, self._large, self._small):
            pool.shutdown()
        self.scheduler.close()


async def _part(
    pool: ThreadPoolExecutor, work: Callable[[], T], parts: list[Future[Any]], *obstacles: asyncio.Future[NoReturn]
) -> T:
    """Do a part of a request's work in a thread of a pool, and append its future to `parts`.

    Raises:
        ProblemError: that of an obstacle, which came meanwhile.
    """
    cell = [work]
    part = pool.submit(lambda: cell.pop()())
    parts.append(part)
    result = asyncio.wrap_future(part)
    first: set[asyncio.Future[Any]] = {result, *obstacles}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            next(obstacle for obstacle in obstacles if obstacle.done()).result()
        return result.result()
    except BaseException:
        if part.cancel():
            cell.clear()  # the pool would keep it, and its data, until its turn comes
        result.cancel()
        raise


@contextmanager
def _failures(parts: Sequence[Future[Any]], release: Callable[[], None]) -> Iterator[None]:
    """Errors in the block become problems, and `release` is called when the last part has ended."""
    try:
        yield
    except BaseException as error:
        if parts:
            parts[-1].add_done_callback(lambda _: release())
        if isinstance(error, FxsrError | MemoryError | OSError):
            raise ProblemError.of(error) from error
        raise


async def _disconnection(receive: Receive) -> NoReturn:
    """Wait until the client has closed the connection.

    Raises:
        ProblemError: it has.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ProblemError(HTTPStatus.BAD_REQUEST, "the connection was closed")


@contextmanager
def _task(coroutine: Coroutine[Any, Any, T]) -> Iterator[asyncio.Future[T]]:
    """A task that ends with the block."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        if not task.cancel() and not task.cancelled():
            task.exception()  # asyncio complains of exceptions that nobody asked for
