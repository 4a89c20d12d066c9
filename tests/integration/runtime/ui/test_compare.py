"""The viewers of the page: what they show, pixel by pixel, and how they are moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.browsing import (
    ServedPage,
    canvas_pixels,
    drag,
    open_photo,
    point,
    upscaled,
    visiting,
    wait_for_picture,
    write_photo,
)

DENSE = {"viewport": {"width": 1000, "height": 800}, "device_scale_factor": 2}


def found_in(shown: NDArray[np.uint8], whole: NDArray[np.uint8], near: tuple[float, float]) -> bool:
    """Whether a piece of the screen is a piece of a picture, pixel by pixel, somewhere around a place of it."""
    height, width = shown.shape[:2]
    top, left = round(near[1] * whole.shape[0] - height / 2), round(near[0] * whole.shape[1] - width / 2)
    return any(
        np.array_equal(whole[y : y + height, x : x + width], shown)
        for y in range(max(0, top - 90), max(0, top) + 90)
        for x in range(max(0, left - 90), max(0, left) + 90)
    )


def piece(shown: NDArray[np.uint8], column: float) -> NDArray[np.uint8]:
    """24x24 pixels of a viewer, at half its height."""
    row, column = shown.shape[0] // 2 + 40, round(shown.shape[1] * column)
    return shown[row : row + 24, column : column + 24]


@pytest.mark.parametrize("page", [{}, DENSE], indirect=True)
def test_the_preview_shows_the_result_pixel_by_pixel(page: Any, pixels: NDArray[np.uint8]) -> None:
    shown = canvas_pixels(page)
    density = shown.shape[1] / page.locator("#preview canvas").bounding_box()["width"]
    assert density == pytest.approx(page.evaluate("devicePixelRatio"), rel=0.02)
    assert page.text_content("#preview .percent") == "100 %"
    place = frame_middle(page)
    whole = upscaled(pixels, 0.8)
    offset = 0.15 * shown.shape[1] / whole.shape[1]
    assert found_in(piece(shown, 0.65), whole, (place[0] + offset, place[1]))
    assert not found_in(piece(shown, 0.2), whole, (place[0] - 2 * offset, place[1]))  # that is the original


def frame_middle(page: Any) -> tuple[float, float]:
    """Where the preview looks, as shares of the photo's sides."""
    frame, photo = page.locator("#frame").bounding_box(), page.locator("#surface").bounding_box()
    return (
        (frame["x"] + frame["width"] / 2 - photo["x"]) / photo["width"],
        (frame["y"] + frame["height"] / 2 - photo["y"]) / photo["height"],
    )


def test_the_preview_opens_where_there_is_detail(page: Any) -> None:
    x, y = frame_middle(page)
    assert abs(x - 0.7) < 0.12
    assert abs(y - 0.4) < 0.2


def test_the_preview_is_dragged_and_the_frame_follows(page: Any) -> None:
    x, y = frame_middle(page)
    drag(page, "#preview canvas", (0.3, 0.7), (0.45, 0.7))
    wait_for_picture(page)
    moved_x, moved_y = frame_middle(page)
    assert moved_x < x - 0.02
    assert moved_y == pytest.approx(y, abs=0.01)
    page.keyboard.press("ArrowRight")
    assert frame_middle(page)[0] > moved_x


def test_the_preview_follows_the_pointer_and_stays_where_one_clicks(page: Any) -> None:
    at_first = frame_middle(page)
    page.mouse.move(*point(page, "#surface", 0.4, 0.6))
    assert frame_middle(page) == pytest.approx((0.4, 0.6), abs=0.02)
    page.mouse.move(*point(page, "#dial-title", 0.5, 0.5))
    assert frame_middle(page) == pytest.approx(at_first, abs=0.02)
    page.mouse.click(*point(page, "#surface", 0.4, 0.6))
    page.mouse.move(*point(page, "#dial-title", 0.5, 0.5))
    assert frame_middle(page) == pytest.approx((0.4, 0.6), abs=0.02)
    drag(page, "#surface", (0.4, 0.6), (0.5, 0.5))
    page.mouse.move(*point(page, "#dial-title", 0.5, 0.5))
    assert frame_middle(page) == pytest.approx((0.5, 0.5), abs=0.02)


def test_the_slider_moves_the_border(page: Any, pixels: NDArray[np.uint8]) -> None:
    before = canvas_pixels(page)
    drag(page, "#preview .split", (0.5, 0.6), (-5.5, 0.6))
    after = canvas_pixels(page)
    assert not np.array_equal(piece(before, 0.3), piece(after, 0.3))
    assert np.array_equal(piece(before, 0.7), piece(after, 0.7))
    split = page.locator("#preview .split")
    split.focus()
    moved = int(split.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowRight")
    assert int(split.get_attribute("aria-valuenow")) == moved + 2
    page.keyboard.press("Home")
    assert split.get_attribute("aria-valuenow") == "0"


def test_two_styles_are_compared(page: Any) -> None:
    look_at_the_plain(page)
    page.click("#against [data-against=t]")
    page.locator("#other-t").fill("0.25")
    page.locator("#t").fill("1")
    wait_for_picture(page)
    assert page.text_content("#preview .badge.left") == "t 0.25"
    assert page.text_content("#preview .badge.right") == "t 1.00"
    shown = canvas_pixels(page)
    assert (blue(shown, 0.1), blue(shown, 0.8)) == pytest.approx((60 + 0.25 * 51, 60 + 51), abs=1)


def look_at_the_plain(page: Any) -> None:
    """Let the preview stay where the photo's blue is the same everywhere."""
    page.mouse.click(*point(page, "#surface", 0.25, 0.7))
    page.mouse.move(*point(page, "#dial-title", 0.5, 0.5))


def blue(shown: NDArray[np.uint8], column: float) -> float:
    return float(piece(shown, column)[..., 2].mean())


def test_while_a_key_is_held_the_left_picture_is_shown_alone(page: Any) -> None:
    look_at_the_plain(page)
    page.locator("#t").fill("1")
    both = canvas_pixels(page)
    page.keyboard.down("o")
    page.wait_for_selector("#preview.only-left")
    alone = canvas_pixels(page)
    page.keyboard.up("o")
    page.wait_for_selector("#preview:not(.only-left)")
    again = canvas_pixels(page)
    assert [blue(each, 0.8) for each in (both, alone, again)] == pytest.approx([111, 60, 111], abs=1)


def test_the_preview_is_zoomed_by_buttons_keys_and_wheel(page: Any) -> None:
    percent = page.locator("#preview .percent")
    page.click("#preview [data-zoom=in]")
    assert percent.text_content() == "200 %"
    page.locator("#preview canvas").focus()
    page.keyboard.press("-")
    assert percent.text_content() == "100 %"
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert percent.text_content() == "400 %"
    page.keyboard.press("1")
    assert percent.text_content() == "100 %"
    page.mouse.move(*point(page, "#preview canvas", 0.2, 0.6))
    page.mouse.wheel(0, -300)
    page.wait_for_selector('#preview .percent:not(:text-is("100 %"))')
    wait_for_picture(page)


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}, "has_touch": True}], indirect=True)
def test_two_fingers_zoom(page: Any) -> None:
    x, y = point(page, "#preview canvas", 0.3, 0.7)
    client = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": at[0], "y": at[1], "id": number} for number, at in enumerate(places)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x, y), (x + 40, y))
    touch("touchMove", (x - 10, y), (x + 50, y))
    touch("touchMove", (x - 20, y), (x + 60, y))
    touch("touchEnd")
    page.wait_for_selector('#preview .percent:text-is("200 %")')
    wait_for_picture(page)


def test_transparency_lies_on_a_checkerboard(browser: Any, served: ServedPage, tmp_path: Path) -> None:
    write_photo(tmp_path / "cut.png", channels=4)
    with visiting(browser, served.address) as page:
        open_photo(page, tmp_path / "cut.png")
        assert "transparency" in page.text_content("#photo-facts")
        page.mouse.click(*point(page, "#surface", 0.9, 0.6))
        page.mouse.move(*point(page, "#dial-title", 0.5, 0.5))
        shown = canvas_pixels(page)
        row = shown[shown.shape[0] // 2 + 40, shown.shape[1] * 3 // 4 :]
        assert {tuple(map(int, each)) for each in row} == {(255, 255, 255), (217, 217, 217)}
        assert page.evaluate("getComputedStyle(document.querySelector('#surface')).backgroundImage") != "none"
