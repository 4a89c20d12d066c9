"""`fxsr ui` as users start it, with the bundled model: the page does what `fxsr run` and `fxsr tmap` do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.images.image import Picture, read_image, write_image
from tests.browsing import drag, open_photo, run_to_end, visiting
from tests.support import SAMPLE, ended, fxsr_cli, fxsr_process


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ended(fxsr_process("ui", "--port", "0")) as running:
        assert running.stderr
        address = running.stderr.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address + running.stderr.read()
        yield address
        running.terminate()
        _, stderr = running.communicate(timeout=200)
        assert "Traceback" not in stderr


@pytest.fixture
def eye(tmp_path: Path) -> Path:
    """A part of the sample photo."""
    write_image(tmp_path / "eye.png", Picture(read_image(SAMPLE).pixels[90:210, 100:260]))
    return tmp_path / "eye.png"


def made_by(*arguments: str | Path, out: Path) -> NDArray[Any]:
    done = fxsr_cli(*arguments, "-o", out)
    assert done.returncode == 0, done.stderr
    pixels: NDArray[Any] = read_image(out).pixels.astype(int)
    return pixels


def test_what_is_painted_changes_and_the_rest_does_not(browser: Any, address: str, eye: Path, tmp_path: Path) -> None:
    with visiting(browser, address) as page:
        open_photo(page, eye)
        page.locator("#t").fill("1")
        page.locator("#brush-size").fill("60")
        page.locator("#brush-softness").fill("0")
        page.click("[data-tool=faithful]")
        drag(page, "#surface", (0.15, 0.02), (0.15, 0.98))  # its edge is at 0.45 of the width
        run_to_end(page)
        with page.expect_download() as download:
            page.click("#download")
        download.value.save_as(tmp_path / "painted.png")
    assert download.value.suggested_filename == "eye_x4.png"
    painted = read_image(tmp_path / "painted.png").pixels.astype(int)
    ends = {t: made_by("run", eye, "--t", t, out=tmp_path / f"t{t}.png") for t in ("0", "1")}
    width = painted.shape[1]
    left, right = slice(0, width // 5), slice(width * 7 // 10, width)
    assert np.abs(painted - ends["0"])[:, left].max() <= 2
    assert np.abs(painted - ends["1"])[:, left].mean() > 0.5
    assert np.abs(painted - ends["1"])[:, right].max() <= 2
    assert np.abs(painted - ends["0"])[:, right].mean() > 0.5


def test_a_layer_at_t_1_is_the_map_of_the_command(browser: Any, address: str, eye: Path, tmp_path: Path) -> None:
    with visiting(browser, address) as page:
        open_photo(page, eye)
        page.locator("#t").fill("1")
        page.click("[data-layer=texture]")
        page.wait_for_selector("[data-layer=texture][aria-pressed=true]")
        with page.expect_download() as download:
            page.click("#save-map")
        download.value.save_as(tmp_path / "map.png")
    there = made_by("tmap", "texture", eye, out=tmp_path / "texture.png")
    assert np.abs(read_image(tmp_path / "map.png").pixels / 65535 - there / 255).max() < 0.01
