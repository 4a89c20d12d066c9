"""The work that a server has accepted, and when it will be done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from threading import Lock

from fxsr.runtime.serve.pace import Pace, TileWork
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import Flow

_CERTAIN = 1.2
"""A request is refused if its forecast exceeds the limit by this factor: forecasts are not exact, and one that ends in
time must not be refused."""


class Lane(Enum):
    """Which threads do a piece of work. Each lane works on its oldest pieces first."""

    SMALL = "small"
    LARGE = "large"
    JOBS = "jobs"


@dataclass(frozen=True)
class LaneWork:
    """What is left of a piece of work, for `finish_seconds`."""

    lane: Lane
    seconds: float
    """Time that it needs of the device."""


def finish_seconds(work: Sequence[LaneWork], slots: Mapping[Lane, int], which: int) -> float:
    """When a piece of work will be done, in seconds from now.

    The oldest pieces of each lane are in progress and share the device equally; the others wait for a slot.

    Args:
        work: all accepted work, oldest first.
        slots: how many pieces of each lane can be in progress.
        which: index of the piece that is asked for.
    """
    left = [each.seconds for each in work]
    unfinished = [*range(len(work))]
    elapsed = 0.0
    while True:
        free = dict(slots)
        active: list[int] = []
        for index in unfinished:
            if free[work[index].lane] > 0:
                free[work[index].lane] -= 1
                active.append(index)
        step = min(left[index] for index in active)
        elapsed += step * len(active)
        for index in active:
            left[index] -= step
        finished = {index for index in active if left[index] <= 0}
        if which in finished:
            return elapsed
        unfinished = [index for index in unfinished if index not in finished]


class Piece:
    """A piece of work that was accepted."""

    def __init__(self, lane: Lane, work: TileWork | None, flow: Flow) -> None:
        self.lane = lane
        self._work = work
        self._flow = flow

    def left(self, pace: Pace) -> float:
        """Seconds that it still needs of the device; 0 if nothing is known about it."""
        seconds = pace.seconds(self._work) if self._work else None
        if self._work is None or seconds is None:
            return 0.0
        return seconds * max(0.0, 1 - self._flow.finished / self._work.tiles)


class Backlog:
    """All accepted work of a server. Safe to share between threads.

    Args:
        pace: how fast the models are.
        slots: how many pieces of each lane can be in progress.
    """

    def __init__(self, pace: Pace, slots: Mapping[Lane, int]) -> None:
        self._pace = pace
        self._slots = slots
        self._lock = Lock()
        self._pieces: list[Piece] = []

    @property
    def seconds(self) -> float:
        """Time until the device has done everything that was accepted."""
        with self._lock:
            pieces = list(self._pieces)
        return sum(piece.left(self._pace) for piece in pieces)

    def add(self, piece: Piece) -> None:
        """Accept a piece of work."""
        with self._lock:
            self._pieces.append(piece)

    def remove(self, piece: Piece) -> None:
        """Forget a piece that is done or abandoned."""
        with self._lock:
            if piece in self._pieces:
                self._pieces.remove(piece)

    def forecast(self, piece: Piece) -> float:
        """Seconds until a piece is done, at least."""
        with self._lock:
            pieces = list(self._pieces)
        if piece not in pieces:
            pieces.append(piece)
        work = [LaneWork(each.lane, each.left(self._pace)) for each in pieces]
        return finish_seconds(work, self._slots, pieces.index(piece))

    def check(self, piece: Piece, limit: float, spent: float = 0.0) -> None:
        """Refuse a piece that can't be done in time, whatever else there is to do.

        Args:
            limit: longest time in seconds.
            spent: seconds of it that are over.

        Raises:
            ProblemError: it would take longer (413).
        """
        left = piece.left(self._pace)
        if left > _CERTAIN * (limit - spent):
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"upscaling would take about {spent + left:.0f} s, and a request may take {limit:g} s; send a smaller "
                "image, or, to /v1/upscale, the header Prefer: respond-async",
            )

    @contextmanager
    def accepted(self, piece: Piece, limit: float) -> Iterator[None]:
        """Accept a piece for the time of the block, unless it can't be done in time.

        Args:
            limit: longest time in seconds.

        Raises:
            ProblemError: it would take longer: alone (413), or after what was accepted before (503).
        """
        self.check(piece, limit)
        seconds = self.forecast(piece)
        if seconds > _CERTAIN * limit:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"with the requests before it, it would take about {seconds:.0f} s, and a request may take {limit:g} s",
                {"Retry-After": str(math.ceil(seconds - limit))},
            )
        self.add(piece)
        try:
            yield
        finally:
            self.remove(piece)
