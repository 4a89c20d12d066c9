"""Requests of pages: DNS rebinding, cross-site requests, shown uploads, URLs to fetch, memory of all sessions."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.images.image import Picture, write_image
from fxsr.runtime.serve.exchange import App, Message, Receive, Send
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.origins import check_origin
from fxsr.runtime.serve.photos import PhotoStore
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.ui.guard import PageGuard


def scope(method: str = "GET", path: str = "/", server: str = "127.0.0.1", **headers: str) -> dict[str, Any]:
    named = {"host": "localhost:8000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = [(name.encode(), value.encode()) for name, value in named.items()]
    return {"type": "http", "method": method, "path": path, "server": (server, 8000), "headers": encoded}


@pytest.mark.parametrize(
    ("host", "server", "names"),
    [
        ("localhost", "127.0.0.1", ()),
        ("LOCALHOST.:8000", "127.0.0.1", ()),
        ("127.0.0.1:8000", "127.0.0.1", ()),
        ("[::1]:8000", "::1", ()),
        ("192.0.2.7:80", "192.0.2.7", ()),
        ("192.0.2.9", "192.0.2.7", ()),  # an address of its router
        ("photos.example", "127.0.0.1", ("photos.example",)),
        ("0.0.0.0:8000", "127.0.0.1", ("0.0.0.0",)),
        ("anything.example", "127.0.0.1", ("*",)),
    ],
)
def test_a_server_answers_for_its_names(host: str, server: str, names: tuple[str, ...]) -> None:
    check_origin(scope(host=host, server=server), names)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "192.0.2.7", "localhost.evil.example", "localhost@evil.example", "", "[::2]"],
)
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    with pytest.raises(ProblemError, match="does not answer for the host") as caught:
        check_origin(scope(host=host), ("127.0.0.1",))
    assert caught.value.status == 421


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8000", "sec_fetch_site": "same-origin"},
        {"host": "photos.example", "origin": "https://photos.example"},
        {"origin": "https://photos.example"},  # a proxy changed the host
        {"sec_fetch_site": "none"},
        {"method": "GET", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"},
    ],
)
def test_own_pages_and_links_are_let_in(headers: dict[str, str]) -> None:
    check_origin(scope(**{"method": "POST"} | headers), ("photos.example",))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://localhost"},
        {"origin": "file://localhost:8000"},
        {"origin": "http://[localhost:8000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "method": "GET"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"},  # a form
        {"method": "GET", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ProblemError, match="may not use this server") as caught:
        check_origin(scope(**{"method": "POST"} | headers), ("*",))
    assert caught.value.status == 403


def answers(headers: dict[str, str] | None = None, reached: list[Any] | None = None) -> App:
    """An app that reads the body and answers 200."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        more = scope["method"] == "POST"
        while more:
            more = (await receive()).get("more_body", False)
        if reached is not None:
            reached.append(scope["path"])
        encoded = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": b""})

    return app


def asked(app: App, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the page's answer."""
    sent: list[Message] = []
    bodies = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return bodies.pop() if bodies else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(PageGuard(app, Settings(max_bytes=1000))(scope(method, path, **headers), receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.html", "application/octet-stream"),
        ("a.svg", "application/octet-stream"),
        ("a.js", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
    ],
)
def test_files_are_downloads_of_a_fixed_type(name: str, media_type: str) -> None:
    app = answers({"Content-Type": "text/html", "Content-Disposition": f'inline; filename="{name}"'})
    status, headers = asked(app, "GET", f"/gradio_api/file=/tmp/{name}")
    assert status == 200
    assert headers["content-disposition"] == f'attachment; filename="{name}"'
    assert headers["content-type"] == media_type
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/gradio_api/file=http://192.0.2.7/a.png", b"", 403),
        ("GET", "/gradio_api/proxy=https://192.0.2.7/a.png", b"", 404),
        ("GET", "/monitoring", b"", 404),
        ("POST", "/gradio_api/run/open_photo", b"{}", 404),
        ("POST", "/gradio_api/queue/join", b"no json", 400),
        ("POST", "/gradio_api/queue/join", b"[" * 2000, 413),
        ("POST", "/gradio_api/queue/join", b" " * (5 << 20), 413),
        ("POST", "/gradio_api/upload", b" " * 100_000, 413),
        *(
            ("POST", "/gradio_api/queue/join", json.dumps({"data": data}).encode(), 403)
            for data in (
                [{"path": "http://192.0.2.7/a.png", "meta": {"_type": "gradio.FileData"}}],
                [{"path": " HTTPS://192.0.2.7/a.png"}],
                [0, {"value": [{"path": "ftp://192.0.2.7/a"}]}],
            )
        ),
    ],
)
def test_what_the_page_does_not_need_is_not_reached(method: str, path: str, body: bytes, status: int) -> None:
    reached: list[Any] = []
    assert asked(answers(reached=reached), method, path, body)[0] == status
    assert not reached


def test_events_of_the_page_are_let_in() -> None:
    event = {"data": [{"path": "/tmp/a.png", "url": "http://localhost:8000/gradio_api/file=/tmp/a.png"}, 0.8]}
    reached: list[Any] = []
    assert asked(answers(reached=reached), "POST", "/gradio_api/queue/join", json.dumps(event).encode())[0] == 200
    assert asked(answers(reached=reached), "POST", "/gradio_api/queue/join", host="evil.example")[0] == 421
    assert reached == ["/gradio_api/queue/join"]


def test_decoded_photos_of_all_sessions_are_bounded(tmp_path: Path) -> None:
    store = PhotoStore(max_pixels=10_000, most=2 * 3000)
    photos = []
    for number in range(5):
        write_image(tmp_path / f"{number}.png", Picture(np.full((20, 50, 3), number, np.uint8)))
        photos.append(store.open(tmp_path / f"{number}.png"))
    assert store.kept == 2 * 3000
    assert [int(store.pixels(photo)[0, 0, 0]) for photo in photos] == [0, 1, 2, 3, 4]
    assert store.kept == 2 * 3000


def test_the_folder_is_its_owners_alone_and_bounded() -> None:
    with OwnFolder(most=250) as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        files = [folder.subfolder() / "file" for _ in range(4)]
        for age, file in enumerate(files):
            file.write_bytes(bytes(100))
            os.utime(file, (age, age))
        folder.touch(files[0])
        folder.make_room()
        assert [file.exists() for file in files] == [True, False, False, True]
    assert not folder.path.exists()
