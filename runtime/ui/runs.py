"""Runs: whole photos that are being upscaled for the page, or were."""

from __future__ import annotations

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Any

from fxsr.errors import FxsrError
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.session import Closable
from fxsr.runtime.ui.views import ResultView
from fxsr.runtime.upscale.upscaler import Progress

_MOST = 500
"""Number of runs that are remembered."""
_FORGOTTEN = 120.0
"""Seconds after which a run is stopped that no page asks about."""


class RunState(StrEnum):
    """What became of a run."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHING = "finishing"
    """All tiles are done; the result is made ready to be looked at."""
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Result:
    """The file that a run has written."""

    file: Path
    media_type: str
    size: tuple[int, int]
    """Width and height."""
    notes: tuple[str, ...]
    """What could not be kept or had to be changed, one line each."""
    view: ResultView | None
    """None: the file can't be shown, only downloaded."""


class Run:
    """A run, and what is known of it by now. One thread does the work; others read."""

    def __init__(self, abandon: Callable[[str], None]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.state = RunState.WAITING
        self.error = ""
        self.result: Result | None = None
        self._abandon = abandon
        self._lock = Lock()
        self._done, self._total = 0, 0
        self._begun = self._asked = time.monotonic()
        self._ended = 0.0

    def do(self, work: Callable[[Progress], Result]) -> None:
        """Do the work, and keep what comes of it."""
        self._begun = time.monotonic()
        if not self._turn(RunState.RUNNING):
            return
        try:
            self.result = work(self._advance)
            self._turn(RunState.DONE)
        except (FxsrError, MemoryError, OSError) as error:
            self._turn(RunState.FAILED, str(ProblemError.of(error)))
        except Exception:
            logging.getLogger("uvicorn.error").exception("a run failed")
            self._turn(RunState.FAILED, "the server failed; see its log")
        self._ended = time.monotonic()

    def stop(self) -> None:
        """Abandon what is left to do. A run whose tiles are all done ends by itself."""
        if self.state in (RunState.WAITING, RunState.RUNNING):
            self._turn(RunState.STOPPED)
        self._abandon("stopped")

    def _turn(self, state: RunState, error: str = "") -> bool:
        """Change the state, unless the run was stopped: a stopped run stays so, whatever its work does."""
        with self._lock:
            if self.state is RunState.STOPPED:
                return False
            self.state, self.error = state, error
            return True

    def report(self) -> dict[str, Any]:
        """What the page shows. Asking keeps the run alive."""
        self._asked = now = time.monotonic()
        spent = (self._ended or now) - self._begun
        left = spent / self._done * (self._total - self._done) if self._done else None
        result = self.result
        return {
            "id": self.id,
            "state": self.state,
            "done": self._done,
            "total": self._total,
            "seconds": round(spent, 1),
            "left": None if left is None else round(left, 1),
            "error": self.error,
            "result": result
            and {
                "name": result.file.name,
                "bytes": result.file.stat().st_size if result.file.exists() else None,
                "width": result.size[0],
                "height": result.size[1],
                "notes": result.notes,
                "levels": result.view.levels if result.view else 0,
            },
        }

    def _advance(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        if done == total:
            self._turn(RunState.FINISHING)
        if time.monotonic() - self._asked > _FORGOTTEN:
            self.stop()


class Runs(Closable):
    """The runs of all pages, some at once, and the others waiting.

    Args:
        at_once: how many are in work.
        most: how many may wait or be in work; further ones are refused.
    """

    def __init__(self, at_once: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(at_once, "run")
        self._most = most
        self._lock = Lock()
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def start(self, run: Run, work: Callable[[Progress], Result]) -> None:
        """Do a run's work in a thread, when its turn comes.

        Raises:
            ProblemError: too many runs wait already.
        """
        with self._lock:
            open_runs = [each for each in self._runs.values() if each.state in (RunState.WAITING, RunState.RUNNING)]
            if len(open_runs) >= self._most:
                raise ProblemError.busy(HTTPStatus.TOO_MANY_REQUESTS, f"{len(open_runs)} runs wait already")
            self._runs[run.id] = run
            ended = [each.id for each in self._runs.values() if each not in open_runs and each is not run]
            for old in ended[: max(0, len(self._runs) - _MOST)]:
                del self._runs[old]
        self._pool.submit(run.do, work)

    def find(self, number: str) -> Run:
        """The run with this id.

        Raises:
            ProblemError: there is none.
        """
        with self._lock:
            run = self._runs.get(number)
        if run is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "this run is not known here any more; upscale again")
        return run

    def close(self) -> None:
        """Stop all runs, and wait for their ends."""
        with self._lock:
            runs = [*self._runs.values()]
        for run in runs:
            run.stop()
        self._pool.shutdown()
