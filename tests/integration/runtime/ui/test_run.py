"""From a photo to a result: what the page says meanwhile, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from fxsr.images.image import read_image
from tests.browsing import (
    ServedPage,
    canvas_pixels,
    drag,
    run_to_end,
    upscaled,
    visiting,
    wait_for_picture,
    write_photo,
)
from tests.imagefiles import HEIC


def test_the_result_is_shown_and_downloaded(page: Any, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    page.locator("#t").fill("1")
    run_to_end(page)
    assert page.text_content("#result-facts").startswith("1200 \N{MULTIPLICATION SIGN} 800")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "result.png")
    assert download.value.suggested_filename == "photo_x4.png"
    expected = upscaled(pixels, 1)
    assert np.array_equal(read_image(tmp_path / "result.png").pixels, expected)
    assert page.text_content("#result .percent") == "100 %"
    shown = canvas_pixels(page, "#result")
    row, column = shown.shape[0] - 60, shown.shape[1] - 60
    patch = shown[row : row + 16, column : column + 16]
    # 1232 device pixels show all 1200 columns: the picture is in the middle
    left = column - (shown.shape[1] - 1200) // 2
    rows = [y for y in range(800 - 15) if np.array_equal(expected[y : y + 16, left : left + 16], patch)]
    assert rows


def test_the_result_is_moved_and_zoomed(page: Any) -> None:
    run_to_end(page)
    page.click("#result [data-zoom=in]")
    assert page.text_content("#result .percent") == "200 %"
    before = canvas_pixels(page, "#result")
    drag(page, "#result canvas", (0.3, 0.7), (0.4, 0.6))
    assert not np.array_equal(canvas_pixels(page, "#result"), before)
    page.click("#result [data-zoom=fit]")
    wait_for_picture(page, "#result")
    assert 50 < int(page.text_content("#result .percent").split()[0]) < 110


def test_progress_is_in_the_button_and_stop_only_while_something_runs(page: Any, served: ServedPage) -> None:
    assert not page.is_visible("#stop")
    served.session.shut()
    page.click("#run")
    page.wait_for_selector("#run-label:has-text('Starting')")
    assert page.is_visible("#stop")
    served.session.let(2)
    page.wait_for_selector("#run-label:has-text('left')")
    assert float(page.evaluate("document.querySelector('#run').style.getPropertyValue('--done')")) > 0
    box = page.locator("#run").bounding_box()
    assert 0 <= box["y"] < 900 - box["height"]
    page.click("#stop")
    served.session.free()
    page.wait_for_selector("#stop", state="hidden")
    assert page.text_content("#run-label") == "Upscale 4\N{MULTIPLICATION SIGN}"
    assert not page.is_visible("#result-section")
    assert not page.is_visible("#run-error")


@pytest.fixture(autouse=True)
def _open_again(served: ServedPage) -> Any:
    yield
    served.session.free()
    served.session._permits = type(served.session._permits)(0)


def test_a_result_that_no_longer_fits_is_marked(page: Any) -> None:
    run_to_end(page)
    assert not page.is_visible("#stale")
    page.locator("#t").fill("0.3")
    assert "Made with t 0.80. The settings have changed since." in page.text_content("#stale")
    assert page.text_content("#run-label") == "Upscale 4\N{MULTIPLICATION SIGN} again"
    page.locator("#t").fill("0.8")
    assert not page.is_visible("#stale")
    page.click("[data-tool=faithful]")
    drag(page, "#surface", (0.3, 0.3), (0.5, 0.3))
    assert page.is_visible("#stale")
    page.click("#undo")
    assert not page.is_visible("#stale")
    page.select_option("#format", "webp")
    assert page.is_visible("#stale")


def test_two_results_are_compared(page: Any) -> None:
    run_to_end(page)
    assert not page.is_visible("#result-against")
    page.locator("#t").fill("0")
    run_to_end(page)
    page.click("#result-against [data-against=earlier]")
    wait_for_picture(page, "#result")
    assert page.text_content("#result .badge.left") == "t 0.80"
    assert page.text_content("#result .badge.right") == "t 0.00"


def test_a_file_that_browsers_can_not_show_is_downloaded(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsr.runtime.ui.studio.ResultView.of", lambda *_: (_ for _ in ()).throw(ImportError("exr")))
    page.click("#run")
    page.wait_for_selector("#not-shown:not([hidden])")
    assert page.is_visible("#download")
    assert not page.is_visible("#result")


@pytest.mark.parametrize("kind", ["gif", "tif", "avif", "heic", "webp", "bmp"])
def test_photos_of_all_kinds_are_opened(page: Any, kind: str, tmp_path: Path) -> None:
    pixels = write_photo(tmp_path / "other.png")
    target = tmp_path / f"other.{kind}"
    if kind == "bmp":
        from PIL import Image

        Image.fromarray(pixels).save(target)
    elif kind == "heic":
        target.write_bytes(HEIC)
    else:
        pyvips.Image.new_from_array(pixels).copy(interpretation="srgb").write_to_file(str(target))
    page.set_input_files("#photo-file", str(target))
    page.wait_for_selector(f'#photo-name:text-is("other.{kind}")')
    wait_for_picture(page)
    assert kind.replace("tif", "tiff").upper() in page.text_content("#photo-facts")


def test_a_second_photo_replaces_the_first_by_dropping_it(page: Any, tmp_path: Path) -> None:
    run_to_end(page)
    page.click("[data-tool=crisp]")
    drag(page, "#surface", (0.3, 0.3), (0.5, 0.3))
    write_photo(tmp_path / "second.png", 120, 160)
    data = (tmp_path / "second.png").read_bytes().hex()
    transfer = page.evaluate_handle(
        """(hex) => { const bytes = Uint8Array.from(hex.match(/../g), (two) => parseInt(two, 16));
        const data = new DataTransfer(); data.items.add(new File([bytes], 'second.png')); return data; }""",
        data,
    )
    page.dispatch_event("#dial-panel", "dragenter", {"dataTransfer": transfer})
    assert page.is_visible("#drop-here")
    page.dispatch_event("#dial-panel", "drop", {"dataTransfer": transfer})
    page.wait_for_selector('#photo-name:text-is("second.png")')
    wait_for_picture(page)
    assert not page.is_visible("#drop-here")
    assert not page.is_visible("#result-section")
    assert page.is_disabled("#undo")
    assert page.text_content("#run-size") == "640 \N{MULTIPLICATION SIGN} 480 pixels"


def test_what_is_no_photo_is_said_where_the_photo_is_and_the_first_one_stays(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"no image")
    page.set_input_files("#photo-file", str(tmp_path / "notes.png"))
    page.wait_for_selector("#photo-error:has-text('notes.png: not a')")
    assert page.text_content("#photo-name") == "photo.png"
    assert not page.is_disabled("#run")


def test_what_is_no_photo_is_said_on_the_first_view(browser: Any, served: ServedPage, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"no image")
    with visiting(browser, served.address) as page:
        page.set_input_files("#photo-file", str(tmp_path / "notes.png"))
        page.wait_for_selector("#welcome-error:has-text('notes.png: not a')")
        page.click("#sample")
        page.wait_for_selector('#photo-name:text-is("sample.webp")')
        wait_for_picture(page)


def test_the_last_photo_is_not_upscaled_while_the_next_one_opens(page: Any, photo: Path) -> None:
    waiting: list[Any] = []
    page.route("**/api/photos?*", lambda route: waiting.append(route))
    with page.expect_request("**/api/photos?*"):
        page.set_input_files("#photo-file", str(photo))
    page.wait_for_selector("#run-label:has-text('Opening')")
    assert page.is_disabled("#run")
    assert page.is_visible("#opening")
    waiting[0].continue_()
    page.wait_for_selector("#opening", state="hidden")
    assert not page.is_disabled("#run")


def test_errors_of_preview_and_run_stand_where_they_happen(page: Any) -> None:
    problem = '{"detail": "too little memory for this request at the moment"}'
    page.route("**/preview?*", lambda route: route.fulfill(status=503, body=problem))
    page.route("**/runs?*", lambda route: route.fulfill(status=503, body=problem))
    page.locator("#t").fill("0.1")
    page.wait_for_selector("#preview-error:text-is('Too little memory for this request at the moment.')")
    page.click("#run")
    page.wait_for_selector("#run-error:text-is('Too little memory for this request at the moment.')")
    page.unroute_all()
    page.locator("#t").fill("0.2")
    wait_for_picture(page)
    assert not page.is_visible("#preview-error")


def test_a_server_that_is_gone_is_said_so(page: Any) -> None:
    page.route("**/runs?*", lambda route: route.abort())
    page.click("#run")
    page.wait_for_selector("#run-error:has-text('The server does not answer')")
    assert page.text_content("#run-label") == "Upscale 4\N{MULTIPLICATION SIGN}"
