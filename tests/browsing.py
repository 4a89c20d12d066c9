"""The page of `fxsr ui` for tests: served in a thread of this process, by a session without a model, and opened in
Chromium. `python -m tests.browsing docs/ui.webp` draws the picture in docs/ui.md, with the bundled model."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from fxsr.images.image import Picture, write_image
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.serve.server import listen, make_server, open_models
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.ui.page import make_page
from fxsr.runtime.ui.studio import Studio
from fxsr.runtime.upscale.upscaler import Upscaler, load
from tests.support import SAMPLE, NearestSession

PATIENCE = 200_000
"""Milliseconds to wait for what takes a moment: only a machine that is stuck needs them all."""
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
GAIN = 51
"""What `TurnstileSession` adds to pixels at t = 1, of 255."""


class TurnstileSession(NearestSession):
    """Adds t to the pixels. Once it is closed, it lets as many batches through as it is told to."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(gain=GAIN / 255, **limits)
        self._open = threading.Event()
        self._open.set()
        self._permits = threading.Semaphore(0)

    def shut(self) -> None:
        self._open.clear()

    def let(self, batches: int) -> None:
        self._permits.release(batches)

    def free(self) -> None:
        self._open.set()
        self._permits.release(10_000)

    def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
        if not self._open.is_set():
            assert self._permits.acquire(timeout=PATIENCE / 1000)
        return super().run(lr, t_map)


def upscaled(pixels: NDArray[np.uint8], t: float | NDArray[Any]) -> NDArray[np.uint8]:
    """What the session makes of (H, W, 3) pixels, as (4 H, 4 W, 3)."""
    shift = np.broadcast_to(np.asarray(t, np.float64) * GAIN, pixels.shape[:2])[..., None]
    bright: NDArray[np.uint8] = np.rint(pixels + shift).clip(0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    return bright


@dataclass(frozen=True)
class ServedPage:
    """The page's address, and what is behind it."""

    address: str
    studio: Studio
    session: TurnstileSession


@contextmanager
def serving_page(
    settings: Settings | None = None, models: Callable[[], Mapping[str, Upscaler]] | None = None
) -> Iterator[ServedPage]:
    session = TurnstileSession()
    with (
        listen("127.0.0.1", 0) as listener,
        Studio(models or (lambda: {"m": Upscaler(session, 32, 8)}), settings or Settings()) as studio,
    ):
        server = make_server(make_page(studio), 10)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield ServedPage(f"http://127.0.0.1:{listener.getsockname()[1]}", studio, session)
        finally:
            session.free()
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser. Skips the test where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here; apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """The page, before a photo is open. It asks nobody else for anything, and nothing in it fails."""
    elsewhere: list[str] = []
    failed: list[str] = []
    with browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda sent: elsewhere.append(sent.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("console", lambda line: failed.append(line.text) if "Content Security Policy" in line.text else None)
        page.goto(address)
        page.wait_for_selector("body[data-ready=yes]")
        yield page
        assert not [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))]
        assert not failed


def open_photo(page: Any, file: Path) -> None:
    page.set_input_files("#photo-file", str(file))
    page.wait_for_selector(f'#photo-name:text-is("{file.name}")')
    wait_for_picture(page)


def wait_for_picture(page: Any, viewer: str = "#preview") -> None:
    """Wait until a viewer shows all that it has asked for."""
    page.wait_for_selector(f"{viewer}[data-state=ready]")


def run_to_end(page: Any) -> None:
    """Upscale the photo, and wait until the result is shown."""
    page.click("#run")
    page.wait_for_selector("#run:not(.running)")
    wait_for_picture(page, "#result")


def canvas_pixels(page: Any, viewer: str = "#preview") -> NDArray[np.uint8]:
    """The device pixels on the screen where a viewer's picture is, (H, W, 3)."""
    wait_for_picture(page, viewer)
    shot = page.locator(f"{viewer} canvas").screenshot(animations="disabled")
    pixels: NDArray[np.uint8] = pyvips.Image.new_from_buffer(shot, "").numpy()[..., :3]
    return pixels


def point(page: Any, selector: str, x: float, y: float) -> tuple[float, float]:
    """A place of an element, given as shares of its sides, in the window."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page: Any, selector: str, *places: tuple[float, float]) -> None:
    """Press at the first of these places of an element, and release at the last."""
    ways = [point(page, selector, *place) for place in places]
    page.mouse.move(*ways[0])
    page.mouse.down()
    for way in ways[1:]:
        page.mouse.move(*way, steps=6)
    page.mouse.up()


def write_photo(path: Path, height: int = 200, width: int = 300, channels: int = 3) -> NDArray[np.uint8]:
    """A dark slope with a grainy patch around (0.7, 0.4) of its sides; returns its pixels."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([40 + 60 * x / width, 40 + 60 * y / height, np.full_like(x, 60, float)], 2)
    grain = np.random.default_rng(5).uniform(-35, 35, pixels.shape)
    near = np.hypot(x / width - 0.7, y / height - 0.4) < 0.15
    drawn: NDArray[np.uint8] = (pixels + grain * near[..., None]).clip(0, 200).astype(np.uint8)
    if channels == 4:
        opaque = np.where(x < width // 2, 255, 0).astype(np.uint8)
        drawn = np.concatenate([drawn, opaque[..., None]], 2)
    write_image(path, Picture(drawn))
    return drawn


def _draw(target: Path) -> None:
    models = open_models([DEFAULT_MODEL], load)
    with serving_page(models=models) as served, chromium() as browser, visiting(browser, served.address) as page:
        open_photo(page, SAMPLE)
        page.locator("#brush-size").fill("20")
        page.click("[data-tool=faithful]")
        drag(page, "#surface", (0.5, 0.62), (0.62, 0.78), (0.72, 0.7))
        page.click("[data-tool=crisp]")
        drag(page, "#surface", (0.2, 0.22), (0.42, 0.14), (0.38, 0.42))
        page.mouse.move(*point(page, "#preview .percent", 0.5, 0.5))
        wait_for_picture(page)
        shot = page.screenshot(animations="disabled")
    pyvips.Image.new_from_buffer(shot, "").webpsave(str(target), Q=88, effort=6, keep="none")


if __name__ == "__main__":
    _draw(Path(sys.argv[1]))
