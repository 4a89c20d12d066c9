"""Models that are served, and the work of requests in threads beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from fxsr.errors import FxsrError
from fxsr.models.manifest import ModelFacts
from fxsr.runtime.serve.guard import Receive
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import BatchReport, Flow, Scheduler
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import Closable, Session, SessionInfo
from fxsr.runtime.upscale.upscaler import Upscaler

T = TypeVar("T")
_SMALL = 1 << 20
"""Bytes of a request."""


@dataclass(frozen=True)
class ServedModel:
    """A model, as clients see it."""

    name: str
    info: SessionInfo
    facts: ModelFacts | None
    """None: a checkpoint."""
    tile: int
    """Largest tile side, LR pixels."""
    overlap: int


class Service(Closable):
    """Models on one device, and threads for what requests want of them.

    Args:
        open_upscalers: upscalers by name, in the order in which models are listed; called in the thread that is to use
            their sessions.
        settings: how much at once.
        batch: see `Scheduler`.
        observe: see `Scheduler`.

    Raises:
        FxsrError: a model can't be opened.
    """

    def __init__(
        self,
        open_upscalers: Callable[[], Mapping[str, Upscaler]],
        settings: Settings,
        batch: int | None = None,
        observe: Callable[[BatchReport], None] = lambda batch: None,
    ) -> None:
        models: dict[str, ServedModel] = {}

        def sessions() -> Mapping[str, Session]:
            upscalers = open_upscalers()
            for name, up in upscalers.items():
                info = up.session.info
                models[name] = ServedModel(name, info, info.facts, up.tile, up.overlap)
            return {name: up.session for name, up in upscalers.items()}

        self.settings = settings
        self.scheduler = Scheduler(sessions, batch, observe)
        self.models: Mapping[str, ServedModel] = models
        self._large = ThreadPoolExecutor(settings.at_once, "request")
        self._small = ThreadPoolExecutor(settings.at_once, "request-small")

    @property
    def default(self) -> ServedModel:
        """The model of requests that name none."""
        return next(iter(self.models.values()))

    async def attend(
        self,
        model: ServedModel,
        receive: Receive,
        work: Callable[[Flow], T],
        sent: int = 0,
        release: Callable[[], None] = lambda: None,
    ) -> T:
        """Do a request's work in a thread; give it up if whoever asked goes away.

        Args:
            receive: the request's, whose body has been read.
            work: is given what it takes for a session.
            sent: bytes of the request. Small ones have threads of their own, lest they wait behind large ones.
            release: called when the work was given up and has come to its end.

        Raises:
            ProblemError: whoever asked is gone; or what the work failed of.
        """
        flow = self.scheduler.flow(model.name)
        cell = [work]
        pool = self._small if sent <= _SMALL else self._large
        job = pool.submit(lambda: cell.pop()(flow))
        result = asyncio.wrap_future(job)
        gone = asyncio.ensure_future(_gone(receive))
        either: set[asyncio.Future[Any]] = {result, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ProblemError(HTTPStatus.BAD_REQUEST, "the connection was closed")
            return result.result()
        except BaseException as error:  # to be cancelled, when time is up, is one
            flow.abandon("given up")
            if job.cancel():
                cell.clear()  # the pool itself forgets it, and what it was to work on, only when its turn comes
            result.cancel()
            job.add_done_callback(lambda _: release())
            if isinstance(error, FxsrError | MemoryError | OSError):
                raise ProblemError.of(error) from error
            raise
        finally:
            gone.cancel()

    def close(self) -> None:
        """Wait for work that is under way, and close the sessions."""
        self._large.shutdown()
        self._small.shutdown()
        self.scheduler.close()


async def _gone(receive: Receive) -> None:
    """Returns when the other end has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
