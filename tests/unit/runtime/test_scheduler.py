"""Tiles of several requests through one session: shared batches, turns, failures, giving up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import DeviceLostError, FxsrError
from fxsr.runtime.serve.scheduler import BatchReport, Flow, RequestAbandonedError, Scheduler
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.support import NearestSession, wait_until

RNG = np.random.default_rng(8)
SIDE = 16
"""Of tiles here: sixteen make up a batch's area on a CPU."""


class Gate(NearestSession):
    """Waits at every run until it is let through."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(gain=1.0, **limits)
        self.entered = threading.Semaphore(0)
        self.open = threading.Semaphore(0)

    def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
        self.entered.release()
        assert self.open.acquire(timeout=200)
        if lr.min() < 0:
            raise FxsrError("the test device is gone")
        return super().run(lr, t_map)

    def let_through(self, runs: int = 1000) -> None:
        self.open.release(runs)


class Bench:
    """A scheduler with one gated model, whose first run is under way, so that what comes then must wait."""

    def __init__(self, batch: int | None = None, **limits: Any) -> None:
        self.gate = Gate(**limits)
        self.batches: list[BatchReport] = []
        self.scheduler = Scheduler(lambda: {"m": self.gate}, batch, self.batches.append)
        self.pool = ThreadPoolExecutor(32)
        self.first = self.send(np.zeros((1, 3, SIDE, SIDE), np.float32), wait=False)[1]
        assert self.gate.entered.acquire(timeout=200)

    def send(
        self, tiles: NDArray[Any], t: NDArray[Any] | float = 0.0, wait: bool = True
    ) -> tuple[Flow, Future[list[NDArray[Any]]]]:
        """A request of some tiles, that all wait when this returns."""
        flow = self.scheduler.flow("m")
        style = np.broadcast_to(np.asarray(t, np.float32), (1, 1, *(np.shape(t) or (1, 1))))
        before = self.scheduler.waiting
        done = self.pool.submit(lambda: [sr[0].copy() for sr in flow.stream((tile[None], style) for tile in tiles)])
        while wait and self.scheduler.waiting < before + len(tiles):
            time.sleep(0.001)
        return flow, done

    def close(self) -> None:
        self.gate.let_through()
        self.scheduler.close()
        self.pool.shutdown()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def tiles(count: int, side: int = SIDE) -> NDArray[np.float32]:
    return RNG.random((count, 3, side, side), np.float32)


def nearest(planes: NDArray[Any]) -> NDArray[Any]:
    return planes.repeat(4, -1).repeat(4, -2)


def test_requests_share_batches_and_get_their_own_back(bench: Bench) -> None:
    wanted = [tiles(1) for _ in range(5)]
    given = [bench.send(each, t / 8)[1] for t, each in enumerate(wanted)]
    bench.gate.let_through()
    for t, (each, done) in enumerate(zip(wanted, given, strict=True)):
        assert np.array_equal(done.result(200)[0], nearest(each[0] + np.float32(t / 8)))
    assert [lr[0] for lr, _ in bench.gate.seen] == [1, 5]


def test_a_request_of_one_tile_does_not_wait_behind_one_of_many(bench: Bench) -> None:
    _, huge = bench.send(tiles(30))
    _, small = bench.send(tiles(1))
    bench.gate.let_through(2)  # the first run, and one batch
    assert small.result(200)
    assert not huge.done()
    bench.gate.let_through()
    assert len(huge.result(200)) == 30


def test_sizes_and_styles_batch_apart_and_nobody_starves(bench: Bench) -> None:
    sent = [bench.send(tiles(3)), bench.send(tiles(3, 24)), bench.send(tiles(3), np.full((SIDE, SIDE), 0.5))]
    bench.gate.let_through()
    for _, done in sent:
        assert len(done.result(200)) == 3
    shapes = {(lr[2:], t_map[2:]) for lr, t_map in bench.gate.seen}
    assert shapes == {((16, 16), (1, 1)), ((24, 24), (1, 1)), ((16, 16), (16, 16))}


def test_what_is_given_up_is_not_done(bench: Bench) -> None:
    flow, given_up = bench.send(tiles(6))
    _, kept = bench.send(tiles(2))
    flow.abandon("whoever asked is gone")
    bench.gate.let_through()
    with pytest.raises(RequestAbandonedError, match="gone"):
        given_up.result(200)
    assert len(kept.result(200)) == 2
    assert sum(lr[0] for lr, _ in bench.gate.seen) == 1 + 2


def test_a_failure_is_that_of_the_requests_in_its_batch(bench: Bench) -> None:
    _, bad = bench.send(-1 - tiles(1))
    bench.gate.let_through(2)
    with pytest.raises(FxsrError, match="the test device is gone"):
        bad.result(200)
    assert bench.scheduler.failing("m") == "the test device is gone"
    _, good = bench.send(tiles(1), wait=False)
    bench.gate.let_through()
    assert good.result(200)
    while bench.scheduler.failing("m"):  # said when the batch's last tile is given
        time.sleep(0.001)


def test_an_engine_of_one_shape_takes_images_of_several_in_one_batch() -> None:
    session = NearestSession(batch=4, tile=(SIDE, SIDE), least=(4, SIDE, SIDE))
    with Scheduler(lambda: {"m": session}) as scheduler:
        for height, width in ((7, 9), (16, 12)):
            image = RNG.integers(0, 255, (height, width, 3), np.uint8)
            assert np.array_equal(Upscaler(scheduler.flow("m"), SIDE)(image, 0), image.repeat(4, 0).repeat(4, 1))
        kinds = {scheduler.kind("m", lr, np.zeros((1, 1, 1))) for lr in (tiles(1, 7)[0], tiles(1, 16)[0])}
    assert len(kinds) == 1
    assert {lr for lr, _ in session.seen} == {(4, 3, SIDE, SIDE)}
    assert session.closed


def test_a_model_that_cannot_be_opened_says_why() -> None:
    def fail() -> Any:
        raise FxsrError("no such model")

    with pytest.raises(FxsrError, match="no such model"):
        Scheduler(fail)


def test_what_waits_when_it_closes_fails(bench: Bench) -> None:
    _, waiting = bench.send(tiles(3))
    closing = threading.Thread(target=bench.scheduler.close)
    closing.start()
    bench.gate.let_through()
    closing.join(20)
    assert bench.first.result(200)
    with pytest.raises(RequestAbandonedError, match="stopping"):
        waiting.result(200)
    with pytest.raises(RequestAbandonedError):
        list(bench.scheduler.flow("m").stream([(tiles(1), np.zeros((1, 1, 1, 1), np.float32))]))


def test_a_lost_device_is_told_once_and_all_its_models_fail_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(NearestSession):
        def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
            raise DeviceLostError("cuda:0 is lost")

    told: list[DeviceLostError] = []
    sessions = {"a": Lost(), "b": NearestSession()}
    with Scheduler(lambda: sessions, on_device_lost=told.append) as scheduler:
        lr = np.zeros((1, 3, SIDE, SIDE), np.float32)
        with pytest.raises(DeviceLostError, match="cuda:0 is lost"):
            scheduler.flow("a").run(lr, np.zeros((1, 1, 1, 1), np.float32))
        wait_until(lambda: told)
        later = time.monotonic() + 1e6
        monkeypatch.setattr("fxsr.runtime.serve.scheduler.time.monotonic", lambda: later)
        assert scheduler.failing("a") == scheduler.failing("b") == "cuda:0 is lost"
