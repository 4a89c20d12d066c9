"""Requests of pages of other sites, and the memory and files of all clients together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.images.image import Picture, write_image
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.images import ClientFile
from fxsr.runtime.serve.origins import check_origin
from fxsr.runtime.serve.photos import PhotoStore
from fxsr.runtime.serve.problems import ProblemError


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


def test_decoded_photos_of_all_sessions_are_bounded(tmp_path: Path) -> None:
    store = PhotoStore(max_pixels=10_000, most=2 * 3000)
    photos = []
    for number in range(5):
        write_image(tmp_path / f"{number}.png", Picture(np.full((20, 50, 3), number, np.uint8)))
        photos.append(store.open(ClientFile(tmp_path / f"{number}.png", "photo")))
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
