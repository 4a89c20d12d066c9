"""`fxsr serve` and its limits: connections, hosts, and requests that are too many, too long or too slow."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from fxsr.runtime.serve.app import create_app
from fxsr.runtime.serve.connections import limited_protocol
from fxsr.runtime.serve.server import listen, make_server
from fxsr.runtime.serve.settings import Settings
from tests.serving import SMALL, Gate, Serving, metric, nearest, serving
from tests.support import PATIENCE, wait_until


@pytest.fixture(scope="module")
def plain() -> Iterator[Serving]:
    with serving(nearest()) as running:
        yield running


def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() -> None:
    with serving(nearest(), Settings(max_bytes=1000)) as running:
        assert running.post(b"x" * 2000).status_code == 413
        chunks = (b"x" * 300 for _ in range(10))
        answer = running.client.post("/v2/models/m/infer", content=chunks)
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["detail"]


def test_a_server_that_is_full_says_when_to_come_back() -> None:
    gate = Gate()
    with serving(nearest(gate), Settings(max_requests=1)) as running, ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.post, SMALL)
        assert gate.entered.wait(200)
        answer = running.post(SMALL)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert running.client.get("/v2/health/ready").status_code == 200
        gate.opened.set()
        assert first.result(200).status_code == 200


def test_a_client_that_hangs_up_counts_apart(plain: Serving) -> None:
    name = 'fxsr_requests_total{method="POST",route="/v1/upscale",status="499"}'
    before = metric(plain, name)
    with closing(http.client.HTTPConnection("127.0.0.1", plain.port)) as connection:
        connection.putrequest("POST", "/v1/upscale")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"--x\r\n")
        wait_until(lambda: metric(plain, "fxsr_requests_in_flight") == 1)
    wait_until(lambda: metric(plain, name) == before + 1)


def test_idle_connections_make_room_for_requests() -> None:
    with listen("127.0.0.1", 0) as listener:
        server = make_server(create_app(nearest()), 10)
        server.config.http = limited_protocol(4, head_seconds=PATIENCE)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        idle = [socket.create_connection(listener.getsockname()) for _ in range(20)]
        try:
            answer = httpx.get(f"http://127.0.0.1:{listener.getsockname()[1]}/v2/health/live", timeout=PATIENCE)
            assert answer.status_code == 200
        finally:
            for each in idle:
                each.close()
            server.should_exit = True
            thread.join(PATIENCE)


def test_a_head_that_does_not_arrive_is_not_waited_for() -> None:
    with listen("127.0.0.1", 0) as listener:
        server = make_server(create_app(nearest()), 10)
        server.config.http = limited_protocol(4, head_seconds=0.5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as slow:
                slow.sendall(b"GET / HTTP/1.1\r\n")
                assert slow.recv(100).startswith(b"HTTP/1.1 408")
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def test_pages_of_other_sites_and_under_other_names_are_refused(plain: Serving) -> None:
    for path in ("/v2", "/metrics", "/docs", "/v2/models/m", "/v2/health/live"):
        assert plain.client.get(path, headers={"Host": "evil.example"}).status_code == 421
    answer = plain.client.post("/v1/upscale", files={"image": SMALL}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert plain.client.get("/v2").headers["x-content-type-options"] == "nosniff"
