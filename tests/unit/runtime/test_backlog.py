"""When accepted work will be done, and what is refused because it would take too long."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from fxsr.runtime.serve.backlog import Backlog, Lane, LaneWork, Piece, finish_seconds
from fxsr.runtime.serve.pace import Execution, Pace, TileWork, TimedSession
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import Flow
from tests.support import NearestSession

SLOTS = {Lane.SMALL: 2, Lane.LARGE: 2, Lane.JOBS: 1}
SIDE = (100, 100)


class PlainFlow:
    """What `Piece` reads of a flow."""

    finished = 0


def piece(tiles: int, lane: Lane = Lane.LARGE, model: str = "m", done: int = 0) -> Piece:
    flow = PlainFlow()
    flow.finished = done
    return Piece(lane, TileWork(model, True, SIDE, tiles, 1), cast(Flow, flow))


@pytest.fixture
def pace() -> Pace:
    """One second per tile."""
    pace = Pace()
    for seconds in (50.0, 1.0):
        pace.add(Execution(TileWork("m", True, SIDE, 1, 1), seconds))
    return pace


@pytest.mark.parametrize(
    ("work", "which", "expected"),
    [
        ([(Lane.LARGE, 5)], 0, 5),
        ([(Lane.LARGE, 5), (Lane.LARGE, 1)], 1, 2),  # both in turns, until the short one is done
        ([(Lane.LARGE, 5), (Lane.LARGE, 1)], 0, 6),
        ([(Lane.LARGE, 4), (Lane.LARGE, 4), (Lane.LARGE, 1)], 2, 9),  # no slot is free before
        ([(Lane.LARGE, 4), (Lane.LARGE, 4), (Lane.SMALL, 1)], 2, 3),
        ([(Lane.JOBS, 4), (Lane.JOBS, 4), (Lane.LARGE, 2)], 1, 10),
        ([(Lane.JOBS, 0), (Lane.JOBS, 0)], 1, 0),
    ],
)
def test_lanes_share_the_device_and_their_slots(work: list[tuple[Lane, float]], which: int, expected: float) -> None:
    assert finish_seconds([LaneWork(*each) for each in work], SLOTS, which) == expected


def test_work_that_takes_longer_than_a_request_may_is_refused_for_good(pace: Pace) -> None:
    backlog = Backlog(pace, SLOTS)
    with pytest.raises(ProblemError, match="about 200 s, and a request may take 120 s") as caught:
        backlog.accepted(piece(200), 120).__enter__()
    assert caught.value.status == 413
    assert backlog.seconds == 0


def test_work_that_turns_out_to_take_too_long_is_refused(pace: Pace) -> None:
    backlog = Backlog(pace, SLOTS)
    half = piece(100, done=50)
    backlog.check(half, 120, 75)
    with pytest.raises(ProblemError, match="about 150 s, and a request may take 120 s") as caught:
        backlog.check(half, 120, 100)
    assert caught.value.status == 413


def test_work_that_must_wait_too_long_is_told_when_to_come_back(pace: Pace) -> None:
    backlog = Backlog(pace, SLOTS)
    backlog.add(piece(100))
    backlog.add(piece(100, done=40))
    with pytest.raises(ProblemError, match="about 260 s") as caught:
        backlog.accepted(piece(100), 120).__enter__()
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "140")
    with backlog.accepted(piece(20, Lane.SMALL), 120):  # its turns come between
        assert backlog.seconds == 180
    assert backlog.seconds == 160


def test_what_was_never_measured_is_not_refused(pace: Pace) -> None:
    backlog = Backlog(pace, SLOTS)
    with backlog.accepted(piece(10**6, model="other"), 1):
        assert backlog.seconds == 0
    assert pace.seconds(TileWork("m", True, SIDE, 100, 8)) is None  # larger batches are faster for their area
    assert pace.seconds(TileWork("m", False, SIDE, 100, 1)) == 100  # maps are not


def test_the_pace_follows_the_machine(pace: Pace) -> None:
    work = TileWork("m", True, SIDE, 1, 1)
    for _ in range(100):
        pace.add(Execution(work, 3.0))
    assert pace.seconds(work) == pytest.approx(3, rel=0.01)


def test_every_batch_of_a_session_is_reported() -> None:
    seen: list[Execution] = []
    session = TimedSession("m", NearestSession(), seen.append)
    lr, t_map = np.zeros((2, 3, 8, 6), np.float32), np.zeros((2, 1, 8, 6), np.float32)
    assert len(list(session.stream([(lr, t_map), (lr[:1], t_map[:1, :, :1, :1])]))) == 2
    session.run(lr, t_map)
    expected = [TileWork("m", False, (8, 6), 2, 2), TileWork("m", True, (8, 6), 1, 1)]
    assert [each.work for each in seen] == [*expected, expected[0]]
    assert all(each.seconds > 0 for each in seen)
