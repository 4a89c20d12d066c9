"""Requests that take longer than a client waits: forecasts, and jobs with `Prefer: respond-async`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import FxsrError
from fxsr.runtime.serve.settings import Settings
from tests.serving import SMALL, Gate, Serving, metric, nearest, png, serving
from tests.support import NearestSession, wait_until

ASYNC = {"Prefer": "wait=5, Respond-Async"}
RNG = np.random.default_rng(5)


def begin(running: Serving, image: bytes = SMALL, **fields: str) -> httpx.Response:
    return running.client.post("/v1/upscale", files={"image": image}, data=fields, headers=ASYNC)


def state(running: Serving, address: str) -> dict[str, Any]:
    answer = running.client.get(address)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(running: Serving, address: str) -> dict[str, Any]:
    wait_until(lambda: state(running, address)["state"] in ("done", "failed"))
    return state(running, address)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where servers of a test keep their files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("fxsr-files-*/*/*") if path.is_file()]


@pytest.fixture
def gated(folder: Path) -> Iterator[tuple[Serving, Gate]]:
    gate = Gate()
    with serving(nearest(gate), Settings(max_jobs=3)) as running:
        yield running, gate
        gate.opened.set()


def test_a_job_gives_what_the_request_gives(folder: Path) -> None:
    with serving(nearest()) as running:
        expected = running.post(SMALL, t=0.4)
        answer = begin(running, t="0.4")
        assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
        address = answer.headers["location"]
        assert address == f"/v1/jobs/{answer.json()['id']}"
        found = ended(running, address)
        assert (found["state"], found["progress"]) == ("done", 1)
        assert 3500 < found["expires_in"] <= 3600
        result = running.client.get(found["result"])
        assert result.content == expected.content
        assert result.headers["content-type"] == "image/png"
        assert len(files(folder)) == 1  # not what the client sent
        assert metric(running, 'fxsr_jobs{state="done"}') == 1
        assert metric(running, 'fxsr_jobs_ended_total{outcome="done"}') == 1
        assert metric(running, "fxsr_jobs_stored_bytes") == len(expected.content)
        assert running.client.delete(address).status_code == 204
        assert running.client.get(address).status_code == 404
        assert not files(folder)
    assert not list(folder.iterdir())


def test_jobs_wait_in_order_and_can_be_cancelled(gated: tuple[Serving, Gate], folder: Path) -> None:
    running, gate = gated
    first, second, third = (begin(running).headers["location"] for _ in range(3))
    assert gate.entered.wait(200)
    places = [(found["state"], found["place"]) for found in (state(running, each) for each in (first, second, third))]
    assert places == [("running", 0), ("queued", 1), ("queued", 2)]
    unfinished = running.client.get(f"{third}/result")
    assert (unfinished.status_code, unfinished.json()["detail"][:17]) == (409, "the job is queued")
    full = begin(running)
    assert (full.status_code, full.json()["detail"]) == (429, "3 jobs wait already")
    assert running.client.delete(second).status_code == 204
    assert state(running, third)["place"] == 1
    assert [path.name for path in files(folder)].count("image") == 2
    assert running.client.delete(first).status_code == 204
    gate.opened.set()
    assert ended(running, third)["state"] == "done"
    assert metric(running, 'fxsr_jobs_ended_total{outcome="cancelled"}') == 2
    wait_until(lambda: len(files(folder)) == 1)
    assert len(gate.seen) == 2  # the second job's tile was not upscaled


def test_a_request_that_nothing_is_known_of_is_refused_once_its_first_batches_show_that_it_takes_too_long() -> None:
    class Slow(NearestSession):
        def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
            time.sleep(0.2)
            return super().run(lr, t_map)

    image = png(RNG.integers(0, 255, (1600, 1600, 3), np.uint8))  # 2,500 batches
    with serving(nearest(Slow(), tile=16), Settings(seconds=200)) as running:
        answer = running.client.post("/v1/upscale", files={"image": image}, timeout=150)
    assert answer.status_code == 413
    assert "upscaling would take about" in answer.json()["detail"]


def test_a_job_that_fails_says_why(folder: Path) -> None:
    class Broken(NearestSession):
        def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
            raise FxsrError("the test device is gone")

    with serving(nearest(Broken())) as running:
        address = begin(running).headers["location"]
        found = ended(running, address)
        assert (found["state"], found["problem"]["detail"]) == ("failed", "the test device is gone")
        result = running.client.get(f"{address}/result")
        assert (result.status_code, result.headers["content-type"]) == (503, "application/problem+json")
        assert not files(folder)
        refused = begin(running, b"no image")  # before there is a job
        assert refused.status_code == 422
        assert not files(folder)


def test_results_are_kept_for_a_time_and_within_a_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(nearest()) as running:
        size = len(running.post(SMALL).content)
    with serving(nearest(), Settings(max_stored=2 * size + len(SMALL))) as running:
        addresses = []
        for _ in range(3):
            addresses.append(begin(running).headers["location"])
            assert ended(running, addresses[-1])["state"] == "done"
        assert [running.client.get(each).status_code for each in addresses] == [404, 200, 200]
        assert len(files(folder)) == 2
        now = time.time()
        monkeypatch.setattr("fxsr.runtime.serve.background.time.time", lambda: now + 3601)
        gone = running.client.get(addresses[-1])
        assert (gone.status_code, "kept for 60 minutes" in gone.json()["detail"]) == (404, True)
        assert not files(folder)


def test_old_results_make_room_for_new_ones(folder: Path) -> None:
    with serving(nearest(), Settings(max_jobs=2)) as running:
        addresses = []
        for _ in range(4):
            addresses.append(begin(running).headers["location"])
            assert ended(running, addresses[-1])["state"] == "done"
        statuses = [running.client.get(each).status_code for each in addresses]
        assert statuses == [404, 404, 200, 200]
        assert len(files(folder)) == 2


@pytest.mark.parametrize(("most", "status"), [(100, 503), (2000, 202)])
def test_files_of_jobs_are_bounded(most: int, status: int, folder: Path) -> None:
    image = png(RNG.integers(0, 255, (16, 16, 3), np.uint8))  # the result has more than 1000 bytes
    assert 50 < len(image) < 1000
    with serving(nearest(), Settings(max_stored=most)) as running:
        answer = begin(running, image)
        assert answer.status_code == status
        if status == 202:
            found = ended(running, answer.headers["location"])
            assert found["problem"]["status"] == 413
            assert "more than the 1000 that are kept" in found["problem"]["detail"]
        assert not files(folder)


def test_jobs_end_with_the_server(folder: Path) -> None:
    gate = Gate()
    with serving(nearest(gate, tile=16)) as running:
        begin(running, png(np.zeros((60, 60, 3), np.uint8)))
        begin(running)
        assert gate.entered.wait(200)
        gate.opened.set()
    assert not list(folder.iterdir())


class Measured(NearestSession):
    """A session that takes a moment for a tile."""

    def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
        time.sleep(0.3)
        return super().run(lr, t_map)


@pytest.mark.parametrize("path", ["/v1/upscale", "/v2/models/m/infer"])
def test_what_cannot_be_done_in_time_is_refused_before_it_is_begun(path: str) -> None:
    session = Measured()
    with serving(nearest(session), Settings(seconds=60)) as running:
        tile = png(np.zeros((64, 64, 3), np.uint8))
        for _ in range(3):
            assert running.post(tile).status_code == 200
        before = len(session.seen)
        side = 1200  # 20 x 20 tiles or more
        if path == "/v1/upscale":
            image = png(np.zeros((side, side, 1), np.uint8))
            answer = running.post(image)
        else:
            body, headers = infer_body(side)
            answer = running.client.post(path, content=body, headers=headers)
        assert answer.status_code == 413, answer.text
        assert "a request may take 60 s; send a smaller image, or, to /v1/upscale" in answer.json()["detail"]
        assert len(session.seen) == before
        if path == "/v1/upscale":
            job = begin(running, image)
            assert job.status_code == 202
            assert job.json()["seconds_left"] > 60
            assert metric(running, "fxsr_backlog_seconds") > 60
            assert running.client.delete(job.headers["location"]).status_code == 204
            wait_until(lambda: metric(running, "fxsr_backlog_seconds") == 0)


def infer_body(side: int) -> tuple[bytes, dict[str, str]]:
    """A request for a square image, as tensors."""
    import tritonclient.http as triton

    inputs = []
    for name, shape in (("lr", (1, 3, side, side)), ("t_map", (1, 1, 1, 1))):
        inputs.append(triton.InferInput(name, shape, "FP32").set_data_from_numpy(np.zeros(shape, np.float32)))
    body, length = triton.InferenceServerClient.generate_request_body(inputs)
    return body, {"Inference-Header-Content-Length": str(length)}
