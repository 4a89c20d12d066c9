"""The models of a server, and the threads in which requests are done next to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from fxsr.errors import DeviceLostError, FxsrError
from fxsr.runtime.serve.exchange import Receive
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import BatchReport, Flow, Scheduler
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import Closable, Session, SessionInfo
from fxsr.runtime.upscale.upscaler import Upscaler

T = TypeVar("T")
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

        self.settings = settings
        self.scheduler = Scheduler(sessions, batch, observe, on_device_lost)
        self.models: Mapping[str, ServedModel] = models
        self._large = ThreadPoolExecutor(settings.at_once, "request")
        self._small = ThreadPoolExecutor(settings.at_once, "request-small")

    @property
    def default(self) -> ServedModel:
        """The model for requests that don't name one."""
        return next(iter(self.models.values()))

    async def attend(
        self,
        model: ServedModel,
        receive: Receive,
        work: Callable[[Flow], T],
        sent: int = 0,
        release: Callable[[], None] = lambda: None,
    ) -> T:
        """Do a request's work in a thread; abandon it if the client disconnects.

        Args:
            receive: the request's ASGI callable; the body has been read.
            work: does the work, with a session of its own for its tiles.
            sent: size of the request in bytes. Small requests have threads of their own, and don't wait behind large
                ones.
            release: called when abandoned work has ended.

        Raises:
            ProblemError: the client disconnected, which `Guard` counts apart, or the work failed.
        """
        flow = self.scheduler.flow(model.name)
        cell = [work]
        pool = self._small if sent <= _SMALL else self._large
        job = pool.submit(lambda: cell.pop()(flow))
        result = asyncio.wrap_future(job)
        gone = asyncio.ensure_future(_disconnection(receive))
        either: set[asyncio.Future[Any]] = {result, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ProblemError(HTTPStatus.BAD_REQUEST, "the connection was closed")
            return result.result()
        except BaseException as error:  # a cancellation at the time limit is one
            flow.abandon("abandoned")
            if job.cancel():
                cell.clear()  # the pool would keep it, and its data, until its turn comes
            result.cancel()
            job.add_done_callback(lambda _: release())
            if isinstance(error, FxsrError | MemoryError | OSError):
                raise ProblemError.of(error) from error
            raise
        finally:
            gone.cancel()

    def close(self) -> None:
        """Wait for running work, and close the sessions."""
        self._large.shutdown()
        self._small.shutdown()
        self.scheduler.close()


async def _disconnection(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
