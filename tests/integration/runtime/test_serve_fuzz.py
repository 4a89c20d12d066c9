"""`fxsr serve` against what nobody sends on purpose: requests made up from its own schema, broken files and headers."""

from __future__ import annotations

import gc
import logging
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as conformance

from tests.serving import SMALL, Serving, metric, nearest, serving

RNG = np.random.default_rng(12)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server; nothing of its requests must be left in its folder, and nothing of the folder when it ends."""
    folder = tmp_path_factory.mktemp("temporary")
    patch = pytest.MonkeyPatch()
    patch.setattr(tempfile, "tempdir", str(folder))
    with serving(nearest()) as running:
        yield running
        left = list(folder.glob("*/*/"))
    left += folder.iterdir()
    patch.undo()
    assert not left


def test_answers_to_made_up_requests_are_those_of_the_schema(fuzzed: Serving) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{fuzzed.port}/openapi.json")
    labels = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def check(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(
                checks=[
                    checks.not_a_server_error,
                    conformance.status_code_conformance,
                    conformance.content_type_conformance,
                    conformance.response_schema_conformance,
                ]
            )

        check()
        labels.add(operation.label)
    assert {"POST /v1/upscale", "POST /v2/models/{name}/infer", "GET /metrics"} <= labels


def broken_images() -> Iterator[bytes]:
    """A good file, cut and changed at many places."""
    files = [SMALL]
    for whole in files:
        for cut in range(0, len(whole), max(1, len(whole) // 20)):
            yield whole[:cut]
        for _ in range(40):
            changed = bytearray(whole)
            for place in RNG.integers(0, len(whole), 3):
                changed[place] = RNG.integers(256)
            yield bytes(changed)


def test_broken_images_are_refused_or_upscaled(fuzzed: Serving) -> None:
    seen = set()
    for image in broken_images():
        answer = fuzzed.post(image)
        seen.add(answer.status_code)
        assert answer.status_code in (200, 413, 422), answer.text
        if answer.status_code != 200:
            assert answer.json()["detail"]
            assert tempfile.gettempdir() not in answer.text
    assert {200, 422} <= seen


@pytest.mark.parametrize(
    "request_text",
    [
        b"",
        b"\0\1\2\3",
        b"GET\r\n\r\n",
        b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\n"
        b"Content-Length: 3\r\n\r\nabc",
        b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 9\r\n\r\n--x\r\n\r\n--",
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 3\r\n\r\nabc",
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: -7\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        b"POST /v2/models/..%2f..%2fetc/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /static-offline-docs/..%2f..%2fapp.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello and more \0\r\n\r\n",
        b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n",
    ],
    ids=range(15),
)
def test_broken_headers_get_4xx_or_are_hung_up_on(
    fuzzed: Serving, request_text: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    with socket.create_connection(("127.0.0.1", fuzzed.port), timeout=200) as connection:
        try:
            connection.sendall(request_text)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            answer = b""
    assert not answer or answer.split()[1].startswith(b"4"), answer[:200]
    assert fuzzed.client.get("/v2/health/ready").status_code == 200
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_nothing_piles_up(fuzzed: Serving) -> None:
    """Threads, open files and objects after many requests are about as many as after some: not one more for each."""

    def send(count: int) -> tuple[int, int, int]:
        for number in range(count):
            fuzzed.post(SMALL[:60] if number % 3 == 0 else SMALL, t=2 if number % 3 == 1 else 1)
        gc.collect()
        threads, files = (len(list(Path("/proc/self", kind).iterdir())) for kind in ("task", "fd"))
        return threads, files, len(gc.get_objects())

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system has no /proc to count in")
    before, after = send(30), send(120)
    assert after[0] < before[0] + 40
    assert after[1] < before[1] + 40
    assert after[2] < before[2] + 120 * 10
    assert metric(fuzzed, "fxsr_tiles_waiting") == 0
