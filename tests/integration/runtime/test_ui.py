"""`fxsr ui` in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from fxsr.images.image import read_image
from tests.support import SAMPLE, ended, fxsr_cli, fxsr_process

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PATIENCE = 120_000
"""Milliseconds."""


@contextmanager
def served() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's address, and the process."""
    with ended(fxsr_process("ui", "--port", "0")) as running:
        assert running.stderr
        address = running.stderr.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address + running.stderr.read()
        yield address, running


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as (address, running):
        yield address
        running.terminate()
        _, stderr = running.communicate(timeout=200)
        assert "Traceback" not in stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("there is no Chromium here; apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page with the sample photo open. It asks nobody else for anything, and no script of it fails."""
    width, height = getattr(request, "param", (1300, 950))
    elsewhere: list[str] = []
    failed: list[str] = []
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda sent: elsewhere.append(sent.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#painter canvas")
        page.set_input_files("#photo input[type=file]", str(SAMPLE))
        page.wait_for_selector("#preview img")
        yield page
        assert not [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))]
        assert not failed


def sends(wanted: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a request of the page sends a value to the server, such as a painting to be previewed."""
    return lambda request: "/queue/join" in request.url and any(map(wanted, request.post_data_json["data"]))


def is_painting(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("planes"))


def paint_left_half(page: Any) -> None:
    page.locator("#painter [data-brush=size]").fill("60")
    page.locator("#painter [data-brush=feather]").fill("0")
    canvas = page.locator("#painter canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    # a brush of 0.3 of the longer side: its edge is at 0.45 of the width
    x = box["x"] + 0.15 * box["width"]
    page.mouse.move(x, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] - 1, steps=8)
    with page.expect_request(sends(is_painting)):
        page.mouse.up()


def upscaled(page: Any, target: Path) -> Any:
    with page.expect_request(sends(lambda value: value == 1)):
        page.locator("#dial input[type=number]").fill("1")
        page.locator("#dial input[type=number]").press("Tab")
    page.click("#upscale")
    page.wait_for_selector("#result img")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(target)
    assert download.value.suggested_filename == "cat_x4.png"
    return read_image(target).pixels.astype(int)


def test_what_is_painted_changes_and_the_rest_does_not(page: Any, tmp_path: Path) -> None:
    paint_left_half(page)
    painted = upscaled(page, tmp_path / "painted.png")
    ends = {}
    for t in ("0", "1"):
        done = fxsr_cli("run", SAMPLE, "-o", tmp_path / f"t{t}.png", "--t", t)
        assert done.returncode == 0, done.stderr
        ends[t] = read_image(tmp_path / f"t{t}.png").pixels.astype(int)
    assert painted.shape == ends["0"].shape
    width = painted.shape[1]
    left, right = slice(0, width // 4), slice(width * 3 // 5, width)
    assert np.abs(painted - ends["0"])[:, left].max() <= 2
    assert np.abs(painted - ends["1"])[:, left].mean() > 0.5
    assert np.abs(painted - ends["1"])[:, right].max() <= 2
    assert np.abs(painted - ends["0"])[:, right].mean() > 0.5


def test_maps_are_made_saved_and_loaded(page: Any, tmp_path: Path) -> None:
    page.click("text=Style maps")
    with page.expect_request(sends(is_painting)):
        page.click("text=Make it")
    page.click("#painter [data-do=clear]")
    with page.expect_request(sends(is_painting)):
        page.click("text=Make it")  # the same once more
    page.click("text=Save the map")
    with page.expect_download() as download:
        page.click("#saved-map")
    download.value.save_as(tmp_path / "map.png")
    done = fxsr_cli("tmap", "texture", SAMPLE, "-o", tmp_path / "texture.png")
    assert done.returncode == 0, done.stderr
    saved = read_image(tmp_path / "map.png").pixels / 65535
    assert np.abs(saved - read_image(tmp_path / "texture.png").pixels / 255).max() < 0.01


@pytest.mark.parametrize("page", [(390, 800)], indirect=True)
def test_it_fits_a_phone(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    paint_left_half(page)
    box = page.locator("#painter canvas").bounding_box()
    assert box["width"] > 250


def test_a_photo_that_cannot_be_opened_takes_the_last_ones_place(page: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(SAMPLE.read_bytes()[:5000])
    page.click("#photo [aria-label=Clear]")
    page.set_input_files("#photo input[type=file]", str(tmp_path / "broken.png"))
    page.wait_for_selector("text=broken.png: not an image that can be read")
    page.wait_for_selector("#painter .empty")
    page.click("#upscale")
    page.wait_for_selector("text=no photo is open yet")


def test_the_last_photo_is_not_upscaled_while_the_next_one_opens(page: Any) -> None:
    opening: list[Any] = []

    def opens(request: Any) -> bool:
        return "/queue/join" in request.url and request.post_data_json["data"] == [None]  # no file is chosen

    page.route("**/queue/join*", lambda route: opening.append(route) if opens(route.request) else route.continue_())
    with page.expect_request(opens):
        page.click("#photo [aria-label=Clear]")
    page.click("#upscale")
    page.wait_for_selector("text=no photo is open yet")
    opening[0].continue_()
    page.wait_for_selector("#painter .empty")


def test_files_of_this_machine_are_not_for_clients() -> None:
    with served() as (address, _), httpx.Client(base_url=address, timeout=200) as client:
        config = client.get("/config").json()
        values = {each["id"]: each["props"].get("value") for each in config["components"]}
        takes_files = {each["id"] for each in config["components"] if each["type"] in ("file", "uploadbutton")}
        open_to_files = [each for each in config["dependencies"] if takes_files & {*each["inputs"]}]
        assert len(open_to_files) == 5  # what takes a photo or a map
        for each in open_to_files:
            named = {"path": str(SAMPLE), "meta": {"_type": "gradio.FileData"}}
            data = [named if component in takes_files else values[component] for component in each["inputs"]]
            guest = f"guest{each['id']}"
            asked = {"data": data, "fn_index": each["id"], "session_hash": guest}
            client.post("/gradio_api/queue/join", json=asked).raise_for_status()
            events = client.get("/gradio_api/queue/data", params={"session_hash": guest}).text
            assert "was not uploaded by a user" in events, each["api_name"]


def test_what_is_no_photo_is_said_on_the_page(browser: Any, address: str, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"no image")
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector("#painter canvas")
        page.set_input_files("#photo input[type=file]", str(tmp_path / "notes.png"))
        page.wait_for_selector("text=notes.png: not an image that can be read: it is a text file")
