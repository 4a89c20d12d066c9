"""The page's server without a browser: who may use it, what it sends, and what it keeps."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pyvips

from fxsr.images.image import read_image
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.ui.static import POLICY
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.browsing import serving_page, upscaled
from tests.serving import png
from tests.support import NearestSession, wait_until

PIXELS = np.random.default_rng(2).integers(0, 200, (60, 80, 3), np.uint8)
PHOTO = png(PIXELS)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    settings = Settings(max_pixels=40_000, max_bytes=300_000)
    with serving_page(settings) as served, httpx.Client(base_url=served.address, timeout=100) as client:
        yield client


def opened(client: httpx.Client, body: bytes = PHOTO, name: str = "p.png") -> dict[str, Any]:
    answer = client.post("/api/photos", params={"name": name}, content=body)
    answer.raise_for_status()
    facts: dict[str, Any] = answer.json()
    return facts


def finished(client: httpx.Client, run: str) -> dict[str, Any]:
    def over() -> bool:
        return client.get(f"/api/runs/{run}").json()["state"] in ("done", "failed", "stopped")

    wait_until(over)
    report: dict[str, Any] = client.get(f"/api/runs/{run}").json()
    return report


def decoded(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return pyvips.Image.new_from_buffer(answer.content, "").numpy()


def test_a_photo_is_opened_looked_at_and_upscaled(client: httpx.Client) -> None:
    facts = opened(client)
    assert (facts["name"], facts["format"], facts["width"], facts["height"]) == ("p.png", "png", 80, 60)
    assert (facts["bits"], facts["alpha"], facts["painting"]) == (8, False, [80, 60])
    photo = f"/api/photos/{facts['id']}"
    assert decoded(client.get(f"{photo}/overview")).shape == (60, 80, 3)
    part = {"x": 10, "y": 20, "w": 30, "h": 16}
    assert decoded(client.get(f"{photo}/before", params=part | {"factor": 4})).shape == (64, 120, 3)
    painted = zlib.compress(bytes(80 * 60) + bytes([255]) * 80 * 40 + bytes(80 * 20))
    fields: dict[str, Any] = {"model": "m", "t": 1}
    style = np.repeat([0.0, 1.0], [40, 20])[:, None]
    expected = upscaled(PIXELS, style)
    shown = decoded(client.post(f"{photo}/preview", params=fields | part, content=painted))
    assert np.array_equal(shown[:60], expected[80:140, 40:160])
    run = client.post(f"{photo}/runs", params=fields | {"format": "png"}, content=painted).json()
    report = finished(client, run["id"])
    assert report["state"] == "done", report
    assert report["done"] == report["total"] > 1
    result = decoded(client.get(f"/api/runs/{run['id']}/file"))
    assert np.array_equal(result[:150], expected[:150])
    assert np.array_equal(result[170:], expected[170:])
    whole = client.get(f"/api/runs/{run['id']}/part", params={"x": 0, "y": 0, "w": 80, "h": 60, "level": 0})
    assert np.array_equal(decoded(whole), result)
    assert client.get(f"/api/runs/{run['id']}/file").headers["content-disposition"] == (
        'attachment; filename="p_x4.png"'
    )


def test_maps_are_made_read_and_saved(client: httpx.Client, tmp_path: Path) -> None:
    photo = f"/api/photos/{opened(client)['id']}"
    setup = client.get("/api/setup").json()
    for kind in (setup["suggestion"], *setup["maps"]):
        assert kind["description"]
        assert len(client.get(f"{photo}/maps/{kind['name']}").content) == 80 * 60
    assert client.get(f"{photo}/maps/clouds").status_code == 422
    half = png(np.full((5, 5, 1), 51, np.uint8))
    read = client.post(f"{photo}/read-map", params={"name": "half.png"}, content=half).content
    assert set(read) == {51}
    painted = zlib.compress(read + bytes([255]) * 80 * 60)
    saved = client.post(f"{photo}/save-map", params={"t": 0.9}, content=painted)
    assert saved.headers["content-disposition"] == 'attachment; filename="p_t.png"'
    (tmp_path / "t.png").write_bytes(saved.content)
    assert np.unique(read_image(tmp_path / "t.png").pixels).tolist() == [51 * 257]


def test_the_page_may_load_and_run_only_its_own_files(client: httpx.Client) -> None:
    index = client.get("/")
    assert index.headers["content-type"].startswith("text/html")
    assert index.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    named = {word.partition('"')[0] for word in index.text.split('"page/')[1:]}
    assert "main.js" in named
    for name in named:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200, name
        again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "//" not in index.text.replace("<!doctype", "").replace("http://www.w3.org", "").replace("://", "")


@pytest.mark.parametrize(
    "name", ["..%2Fpage.py", "%2Fetc%2Fpasswd", "nothing.js", "../page.py", ".", "__init__.py", "index.html%00"]
)
def test_there_are_no_other_files(client: httpx.Client, name: str) -> None:
    assert client.get(f"/page/{name}").status_code in (404, 405)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.html", b"<script>alert(1)</script>"),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
        ("http://192.0.2.7/a.png", b"http://192.0.2.7/a.png"),
        ("/etc/passwd", b""),
    ],
)
def test_what_is_no_photo_is_not_kept_and_nothing_is_fetched(client: httpx.Client, name: str, body: bytes) -> None:
    answer = client.post("/api/photos", params={"name": name}, content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "192.0.2.7:" not in answer.json()["detail"]


def test_what_clients_sent_is_only_sent_back_as_a_download(client: httpx.Client) -> None:
    facts = opened(client, name='<script>"é.png')
    photo = f"/api/photos/{facts['id']}"
    run = client.post(f"{photo}/runs", params={"model": "m", "t": 0}).json()
    finished(client, run["id"])
    part = {"x": 0, "y": 0, "w": 8, "h": 8}
    for answer in (
        client.get(f"{photo}/overview"),
        client.get(f"{photo}/before", params=part | {"factor": 4}),
        client.get(f"{photo}/maps/texture"),
        client.post(f"{photo}/preview", params=part | {"model": "m", "t": 0}),
        client.post(f"{photo}/save-map", params={"t": 0}),
        client.get(f"/api/runs/{run['id']}/file"),
        client.get(f"/api/runs/{run['id']}/part", params=part | {"level": 0}),
    ):
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"] in ("image/png", "image/webp", "application/octet-stream")
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "\n" not in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_reach_nothing(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    for method, path in (("POST", "/api/photos?name=p.png"), ("GET", "/api/setup"), ("POST", "/api/runs/x/stop")):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/file=/etc/passwd", 404),
        ("POST", "/upload", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/api/photos/x/overview", 404),
        ("GET", "/api/runs/x", 404),
        ("GET", "/api/runs/x/file", 404),
        ("POST", "/api/photos/x/runs?model=m&t=0.5", 404),
        ("DELETE", "/api/photos", 405),
        ("GET", "/api/photos/{photo}/before?x=0&y=0&w=81&h=1&factor=4", 422),
        ("GET", "/api/photos/{photo}/before?x=-1&y=0&w=8&h=1&factor=4", 422),
        ("GET", "/api/photos/{photo}/before?x=0&y=0&w=8&h=1&factor=nan", 422),
        ("GET", "/api/photos/{photo}/before?x=0&y=0&w=8&h=1&factor=1e9", 422),
        ("POST", "/api/photos/{photo}/preview?model=m&t=nan&x=0&y=0&w=8&h=8", 422),
        ("POST", "/api/photos/{photo}/preview?model=m&t=1.5&x=0&y=0&w=8&h=8", 422),
        ("POST", "/api/photos/{photo}/preview?model=other&t=0.5&x=0&y=0&w=8&h=8", 422),
        ("POST", "/api/photos/{photo}/runs?model=m&t=0.5&format=exe", 422),
    ],
)
def test_what_can_not_be_done_is_said_as_a_problem(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path.replace("{photo}", opened(client)["id"]))
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_bodies_are_bounded(client: httpx.Client) -> None:
    assert client.post("/api/photos", params={"name": "p"}, content=bytes(300_001)).status_code == 413

    def drops() -> Iterator[bytes]:  # without Content-Length
        for _ in range(40):
            yield bytes(10_000)

    assert client.post("/api/photos", params={"name": "p"}, content=drops()).status_code == 413
    photo = f"/api/photos/{opened(client)['id']}"
    fields: dict[str, Any] = {"model": "m", "t": 0.5, "x": 0, "y": 0, "w": 8, "h": 8}
    assert client.post(f"{photo}/preview", params=fields, content=b"x" * 200_000).status_code == 422
    big = png(np.zeros((300, 200, 3), np.uint8))
    answer = client.post("/api/photos", params={"name": "big.png"}, content=big)
    assert answer.status_code == 413
    assert "big.png: 200x300 has more than the 40000 pixels" in answer.json()["detail"]


def test_memory_and_files_of_all_pages_are_bounded() -> None:
    settings = Settings(max_kept=3 * PIXELS.nbytes, max_stored=6 * len(PHOTO))
    with serving_page(settings) as served, httpx.Client(base_url=served.address, timeout=100) as client:
        facts = [opened(client) for _ in range(20)]
        assert served.studio._store.kept <= 3 * PIXELS.nbytes
        stored = [file for file in served.studio.folder.rglob("photo") if file.is_file()]
        assert len(stored) <= 7
        assert client.get(f"/api/photos/{facts[0]['id']}/overview").json()["detail"].endswith("open it again")
        assert client.get(f"/api/photos/{facts[-1]['id']}/overview").status_code == 200
        assert served.studio.folder.stat().st_mode & 0o777 == 0o700
    assert not served.studio.folder.exists()


def test_too_many_runs_are_refused() -> None:
    with serving_page(Settings(max_requests=2)) as served, httpx.Client(base_url=served.address, timeout=100) as client:
        served.session.shut()
        photo = f"/api/photos/{opened(client)['id']}"
        runs = [client.post(f"{photo}/runs", params={"model": "m", "t": 0}) for _ in range(3)]
        assert [run.status_code for run in runs] == [200, 200, 429]
        client.post(f"/api/runs/{runs[0].json()['id']}/stop")
        served.session.free()
        assert finished(client, runs[0].json()["id"])["state"] == "stopped"
        assert client.get(f"/api/runs/{runs[0].json()['id']}/file").status_code == 404
        assert finished(client, runs[1].json()["id"])["state"] == "done"


def test_the_page_learns_which_styles_are_fixed() -> None:
    def models() -> dict[str, Upscaler]:
        return {"free": Upscaler(NearestSession(), 32, 8), "f": Upscaler(NearestSession(baked_t=0.5), 32, 8)}

    with serving_page(models=models) as served:
        setup = httpx.get(f"{served.address}/api/setup", timeout=100).json()
    assert [(model["name"], model["scale"], model["fixed"]) for model in setup["models"]] == [
        ("free", 4, None),
        ("f", 4, 0.5),
    ]


def test_the_suggestion_says_what_is_looked_for_here(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*absent: str) -> dict[str, str]:
        monkeypatch.setattr("fxsr.runtime.ui.maps.missing", lambda: absent)
        setup = client.get("/api/setup").json()
        assert not {"auto", *absent} & {kind["name"] for kind in setup["maps"]}
        suggestion: dict[str, str] = setup["suggestion"]
        assert suggestion["name"] == "auto"
        return suggestion

    soft = "what is out of focus stays soft, and texture gets crisp."
    assert told()["description"] == f"Faces and skin, text and line art stay faithful, {soft}"
    assert told()["note"] == ""
    assert told("faces")["description"] == f"Text and line art stay faithful, {soft}"
    assert 'does not look for faces. Add that in the clone of FxSR: pip install ".[faces]"' in told("faces")["note"]
    assert told("faces", "text")["description"] == soft.capitalize()
    assert told("faces", "text")["note"].endswith('pip install ".[faces,text]"')


def test_deep_photos_keep_their_depth() -> None:
    deep = (PIXELS.astype(np.uint16) * 257)[..., :1]
    with serving_page() as served, httpx.Client(base_url=served.address, timeout=100) as client:
        facts = opened(client, png(deep))
        assert facts["bits"] == 16
        run = client.post(f"/api/photos/{facts['id']}/runs", params={"model": "m", "t": 0}).json()
        finished(client, run["id"])
        result = decoded(client.get(f"/api/runs/{run['id']}/file"))
    assert result.dtype == np.uint16
