"""Comparing sessions. Each lives in a process of its own, so that its peak memory is its own; they take turns, round by
round, so that whatever else the machine does hits all of them.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np

from fxsr.benchmarks.speed.bench import Bench
from fxsr.errors import FxsrError, UnavailableError, first_line
from fxsr.runtime.session import Session, SessionInfo
from fxsr.runtime.timing import Timing

CONFIDENCE = 0.95
_RESAMPLES = 4000
_PATIENCE = 10.0
"""Seconds that a process is given to end by itself."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one side is as another: median over rounds, with its 95 % confidence interval."""

    median: float
    low: float
    high: float
    rounds: int


class Worker:
    """A process that holds one session under measurement. It ends with the `with` block, or with this process.

    Args:
        opener: opens the session, over there; it must pickle.

    Raises:
        FxsrError: the session can't be opened.
    """

    def __init__(self, opener: Callable[[], Session]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(opener, theirs), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.info: SessionInfo = self._receive()
        except BaseException:
            self._stop()
            raise

    def call(self, method: Callable[Concatenate[Bench, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of `Bench` over there, such as `call(Bench.sample, 1.0, 5)`.

        Raises:
            FxsrError: it failed, or the process died.
        """
        with suppress(BrokenPipeError):  # what is received says why
            self._pipe.send((method.__name__, args, kwargs))
        result: T = self._receive()
        return result

    def close(self) -> None:
        """Let the process close its session and end."""
        self._pipe.close()
        self._process.join(_PATIENCE)
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close() if error is None else self._stop()

    def _stop(self) -> None:
        """At once, whatever it is at."""
        self._process.kill()
        self.close()

    def _receive(self) -> Any:
        try:
            error, result = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            status = self._process.exitcode
            raise FxsrError(f"the measuring process died (exit status {status}); is there enough memory?") from None
        if error:
            kind, message = error
            raise kind(message)
        return result


def interleave(
    workers: Sequence[Worker], rounds: int, seconds: float, tell: Callable[[int], None] = lambda round_: None
) -> list[list[list[Timing]]]:
    """Let sides take turns.

    Args:
        workers: the sides, each with a workload begun and warm.
        rounds: turns of each.
        seconds: a turn's length, one run at least.
        tell: hears the number of each round.

    Returns:
        For each side and round, its runs.
    """
    taken: list[list[list[Timing]]] = [[] for _ in workers]
    for round_ in range(rounds):
        tell(round_)
        for side, worker in zip(taken, workers, strict=True):
            side.append(worker.call(Bench.sample, seconds, 1))
    return taken


def compare_rounds(base: Sequence[Sequence[Timing]], other: Sequence[Sequence[Timing]]) -> Ratio:
    """How many times as fast `other` is as `base`, by the median of each one's turn in each round."""
    ours, theirs = ([statistics.median(timing.total for timing in turn) for turn in side] for side in (base, other))
    return bootstrap_ratio([a / b for a, b in zip(ours, theirs, strict=True)])


def bootstrap_ratio(ratios: Sequence[float], seed: int = 0) -> Ratio:
    """The median of one round or more, with its percentile bootstrap interval (Efron, 1979): medians of rounds drawn
    again and again, with replacement. The same ratios give the same interval.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.asarray(ratios), (_RESAMPLES, len(ratios)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(drawn, axis=1), (tail, 1 - tail))
    return Ratio(statistics.median(ratios), float(low), float(high), len(ratios))


def _serve(opener: Callable[[], Session], pipe: Connection) -> None:
    """The other process: open, then do as told until the pipe ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        try:
            session = opener()
        except Exception as error:  # whatever a backend raises is told, not printed
            pipe.send((_portable(error), None))
            return
        with session:
            bench = Bench(session)
            pipe.send((None, session.info))
            while True:
                name, args, kwargs = pipe.recv()
                try:
                    pipe.send((None, getattr(bench, name)(*args, **kwargs)))
                except Exception as error:  # likewise
                    pipe.send((_portable(error), None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone


def _portable(error: Exception) -> tuple[type[FxsrError], str]:
    """An error's class and message, such that the class can be called with the message alone."""
    if isinstance(error, UnavailableError):
        return UnavailableError, str(error)
    if isinstance(error, FxsrError):
        return type(error), str(error)
    if isinstance(error, MemoryError):
        return FxsrError, "too little memory"
    return FxsrError, f"{type(error).__name__}: {first_line(error)}"
