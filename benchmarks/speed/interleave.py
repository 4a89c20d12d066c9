"""Compares sessions. Each runs in a process of its own, so that peak memory can be measured for each. They run in
turns, round by round, so that other load on the machine affects all of them.
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
_TIMEOUT = 10.0
"""Seconds to wait for a process to end by itself."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one model is as another: the median over rounds, with its 95 % confidence interval."""

    median: float
    low: float
    high: float
    rounds: int


class BenchProcess:
    """A process that measures one session. It ends with the `with` block, or with the parent process.

    Args:
        opener: opens the session in the new process; it must be picklable.

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
        """Call a method of `Bench` in the process, such as `call(Bench.sample, 1.0, 5)`.

        Raises:
            FxsrError: the call failed, or the process died.
        """
        with suppress(BrokenPipeError):  # `_receive` reports the reason
            self._pipe.send((method.__name__, args, kwargs))
        result: T = self._receive()
        return result

    def close(self) -> None:
        """Close the session and end the process."""
        self._pipe.close()
        self._process.join(_TIMEOUT)
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close() if error is None else self._stop()

    def _stop(self) -> None:
        """End the process at once."""
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
    processes: Sequence[BenchProcess],
    rounds: int,
    seconds: float,
    on_round: Callable[[int], None] = lambda round_: None,
) -> list[list[list[Timing]]]:
    """Time sessions in turns.

    Args:
        processes: one for each session, after `Bench.begin` and warm-up.
        rounds: number of turns of each session.
        seconds: length of a turn; it has at least one run.
        on_round: called with the number of each round.

    Returns:
        For each session and round, its runs.
    """
    timings: list[list[list[Timing]]] = [[] for _ in processes]
    for round_ in range(rounds):
        on_round(round_)
        for runs, process in zip(timings, processes, strict=True):
            runs.append(process.call(Bench.sample, seconds, 1))
    return timings


def compare_rounds(base: Sequence[Sequence[Timing]], other: Sequence[Sequence[Timing]]) -> Ratio:
    """How many times as fast `other` is as `base`, from the medians of their turns in each round."""
    medians = ([statistics.median(timing.total for timing in turn) for turn in turns] for turns in (base, other))
    return bootstrap_ratio([a / b for a, b in zip(*medians, strict=True)])


def bootstrap_ratio(ratios: Sequence[float], seed: int = 0) -> Ratio:
    """The median of ratios, with its percentile bootstrap interval (Efron, 1979): the distribution of medians of ratios
    that are drawn repeatedly, with replacement.

    Args:
        ratios: one for each round; at least one.
        seed: of the drawing. Equal seeds and ratios give equal intervals.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.asarray(ratios), (_RESAMPLES, len(ratios)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(drawn, axis=1), (tail, 1 - tail))
    return Ratio(statistics.median(ratios), float(low), float(high), len(ratios))


def _serve(opener: Callable[[], Session], pipe: Connection) -> None:
    """Run in the new process: open the session, then execute calls until the pipe is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        try:
            session = opener()
        except Exception as error:  # every error of a backend is sent, not printed
            pipe.send((_portable(error), None))
            return
        with session:
            bench = Bench(session)
            pipe.send((None, session.info))
            while True:
                name, args, kwargs = pipe.recv()
                try:
                    pipe.send((None, getattr(bench, name)(*args, **kwargs)))
                except Exception as error:  # as above
                    pipe.send((_portable(error), None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has ended


def _portable(error: Exception) -> tuple[type[FxsrError], str]:
    """An error's message, and a class that can be constructed from the message alone."""
    if isinstance(error, UnavailableError):
        return UnavailableError, str(error)
    if isinstance(error, FxsrError):
        return type(error), str(error)
    if isinstance(error, MemoryError):
        return FxsrError, "too little memory"
    return FxsrError, f"{type(error).__name__}: {first_line(error)}"
