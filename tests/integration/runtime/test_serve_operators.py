"""What people who run `fxsr serve` see of it: its first lines, the access log, its models, the page about the API."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.serve.access_log import access_line
from fxsr.runtime.serve.app import create_app
from fxsr.runtime.serve.server import exposure, listen, make_server, start_line
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import CPU, SessionInfo
from tests.serving import SMALL, Serving, nearest, process, serving
from tests.support import NearestSession, wait_until

SECRET = "a-secret-word"


@pytest.fixture(scope="module")
def secured() -> Iterator[Serving]:
    with serving(nearest(NearestSession(baked_t=0.5)), Settings(token=SECRET)) as running:
        yield running


@contextmanager
def logged(lines: list[str]) -> Iterator[httpx.Client]:
    """A client of a server with an access log."""
    with listen("127.0.0.1", 0) as listener:
        server = make_server(create_app(nearest(), Settings(token=SECRET), log=lines.append), 10)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=200) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(200)


def test_the_access_log_has_a_line_for_each_request_and_no_token() -> None:
    lines: list[str] = []
    bearer = {"Authorization": f"Bearer {SECRET}", "X-Request-Id": "order-17"}
    with logged(lines) as client:
        answer = client.post(f"/v1/upscale?token={SECRET}", files={"image": SMALL}, headers=bearer)
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, "order-17")
        refused = client.get("/v1/a%20b%0A%0aPOST%20/x", headers={"X-Request-Id": "no word\x7f"})
        wait_until(lambda: len(lines) == 2)
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 127\.0\.0\.1"
    assert re.fullmatch(rf"{time} POST /v1/upscale 200 {len(answer.content)} \d+ order-17", lines[0])
    own = refused.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", own)
    size = len(refused.content)
    assert re.fullmatch(rf"{time} GET /v1/a%20b%0A%0APOST%20/x 401 {size} \d+ {own}", lines[1])
    assert SECRET not in "".join(lines)


def test_paths_of_the_log_are_bounded() -> None:
    scope: dict[str, Any] = {"client": None, "method": "GET", "path": "/" + "é" * 500, "headers": []}
    assert len(access_line(scope, 404, 0, 0.001, "x").split()[3]) == 200


def test_a_server_says_what_it_serves_and_within_which_limits() -> None:
    info = SessionInfo("fxsr-pd-x4-small", 4, NearestSession().info.dtype, "onnxruntime", CPU)
    line = start_line({"small": info}, Settings(token=SECRET))
    assert line == (
        "serving small (x4, fp32, onnxruntime on cpu); limits: 67.1089 MB, 16 megapixels, 120 s, 64 requests, "
        "8 at once, 64 jobs; a token is needed"
    )


@pytest.mark.parametrize(
    ("host", "token", "warned"), [("127.0.0.1", None, False), ("0.0.0.0", None, True), ("0.0.0.0", SECRET, False)]
)
def test_a_server_that_everyone_can_use_warns(host: str, token: str | None, warned: bool) -> None:
    with listen(host, 0) as listener:
        warning = exposure(listener, Settings(token=token))
    assert ("anyone who can reach 0.0.0.0 can use this server: set FXSR_TOKEN" in warning) == warned


def test_the_first_lines_of_a_process() -> None:
    with process("--host", "127.0.0.1", "--access-log") as (running, port):
        assert running.stderr
        assert running.stdout
        assert running.stderr.readline().startswith(f"serving {DEFAULT_MODEL} (x4, fp32, onnxruntime on cpu); limits")
        assert httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=200).status_code == 200
        assert " GET /v1/models 200 " in running.stdout.readline()


def test_models_are_listed(secured: Serving) -> None:
    listed = secured.client.get("/v1/models", headers={"Authorization": f"Bearer {SECRET}"}).json()
    (model,) = listed["models"]
    facts = {key: model[key] for key in ("name", "default", "ready", "scale", "t", "precision", "device", "tile")}
    assert facts == {
        "name": "m",
        "default": True,
        "ready": True,
        "scale": 4,
        "t": 0.5,
        "precision": "fp32",
        "device": "cpu",
        "tile": 64,
    }


def test_the_root_leads_to_the_page_about_the_api(secured: Serving) -> None:
    answer = secured.client.get("/", follow_redirects=True)
    assert answer.status_code == 200
    assert answer.url.path == "/docs"
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', answer.text):
        assert secured.client.get(path).status_code == 200, path


def test_what_needs_a_token_says_so_in_the_schema(secured: Serving) -> None:
    schema = secured.client.get("/openapi.json").json()
    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    free = {
        path for path, methods in schema["paths"].items() for method in methods.values() if "security" not in method
    }
    assert free == {"/v2/health/live", "/v2/health/ready"}
    for path in schema["paths"].keys() - free:
        for method in schema["paths"][path]:
            assert secured.client.request(method, path).status_code == 401, (method, path)


def test_without_a_token_the_schema_asks_for_none() -> None:
    with serving(nearest()) as running:
        assert "securitySchemes" not in running.client.get("/openapi.json").json().get("components", {})


def test_the_page_about_the_api_can_be_used_with_a_token(secured: Serving) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("there is no Chromium here; apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        page.set_default_timeout(200_000)
        page.goto(f"http://127.0.0.1:{secured.port}/")
        page.click("button.authorize")
        page.fill(".auth-container input", SECRET)
        page.click(".auth-btn-wrapper button[type=submit]")
        page.click(".btn-done")
        route = page.locator("#operations-default-models_v1_models_get")
        route.locator(".opblock-summary-control").click()
        route.locator(".try-out button").click()
        route.locator(".execute").click()
        answer = route.locator(".live-responses-table tbody .response-col_status").first
        answer.wait_for()
        assert answer.inner_text().startswith("200")
