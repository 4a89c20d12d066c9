"""The brush and the layers: what they change, and how they are used."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.images.image import Picture, read_image, resize_plane, write_image
from fxsr.runtime.ui.maps import AutomaticMap
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.automatic.registry import AUTOMATIC_MAPS
from tests.browsing import (
    ServedPage,
    canvas_pixels,
    drag,
    open_photo,
    point,
    run_to_end,
    serving_page,
    visiting,
    wait_for_picture,
)
from tests.support import NearestSession


def tint(page: Any) -> NDArray[np.uint8]:
    """The painting as it lies on the photo, (H, W, 4)."""
    width, height, values = page.evaluate(
        """() => { const c = document.querySelector('#tint');
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        return [c.width, c.height, btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(''))]; }"""
    )
    return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4)


def saved_map(page: Any, tmp_path: Path) -> NDArray[np.float64]:
    with page.expect_download() as download:
        page.click("#save-map")
    download.value.save_as(tmp_path / "map.png")
    values: NDArray[np.float64] = read_image(tmp_path / "map.png").pixels[..., 0] / 65535
    return values


def test_strokes_say_what_they_do(page: Any, tmp_path: Path) -> None:
    page.locator("#brush-softness").fill("0")
    page.locator("#brush-size").fill("20")
    page.locator("#t").fill("0.5")
    assert page.text_content("[data-tool=faithful]") == "Paint faithful"
    page.click("[data-tool=faithful]")
    drag(page, "#surface", (0.2, 0.2), (0.2, 0.8))
    page.click("[data-tool=crisp]")
    drag(page, "#surface", (0.8, 0.2), (0.8, 0.8))
    values = saved_map(page, tmp_path)
    assert values[100, [60, 150, 240]] == pytest.approx([0, 0.5, 1], abs=0.01)
    page.click("[data-tool=erase]")
    drag(page, "#surface", (0.1, 0.5), (0.9, 0.5))
    assert saved_map(page, tmp_path)[100, [60, 150, 240]] == pytest.approx([0.5] * 3, abs=0.01)
    blue, orange = tint(page)[[50, 50], [60, 240]].astype(int)
    assert blue[2] > blue[0] + 50
    assert orange[0] > orange[2] + 50


def test_the_preview_shows_what_was_painted(page: Any) -> None:
    page.locator("#brush-size").fill("60")
    page.click("[data-tool=faithful]")
    drag(page, "#surface", (0.2, 0.7), (0.3, 0.7))
    wait_for_picture(page)
    frame, photo = page.locator("#frame").bounding_box(), page.locator("#surface").bounding_box()
    assert (frame["x"] + frame["width"] / 2 - photo["x"]) / photo["width"] == pytest.approx(0.3, abs=0.03)
    shown = canvas_pixels(page)
    middle = shown[shown.shape[0] // 2 + 40, round(0.6 * shown.shape[1])]
    assert int(middle[2]) == pytest.approx(60, abs=2)  # the photo's blue; t = 0 adds nothing to it


def test_strokes_are_undone_and_done_again(page: Any) -> None:
    assert page.is_disabled("#undo")
    assert page.is_disabled("#redo")
    page.click("[data-tool=crisp]")
    drag(page, "#surface", (0.2, 0.3), (0.4, 0.3))
    first = tint(page)
    drag(page, "#surface", (0.2, 0.7), (0.4, 0.7))
    second = tint(page)
    page.click("#undo")
    assert np.array_equal(tint(page), first)
    page.keyboard.press("Control+z")
    assert tint(page)[..., 3].max() == 0
    page.keyboard.press("Control+Shift+z")
    assert np.array_equal(tint(page), first)
    page.keyboard.press("Control+y")
    assert np.array_equal(tint(page), second)
    assert page.is_disabled("#redo")
    page.click("#clear")
    assert tint(page)[..., 3].max() == 0
    page.click("#undo")
    assert np.array_equal(tint(page), second)


def test_the_tint_is_hidden_by_a_switch_and_while_a_key_or_button_is_held(page: Any) -> None:
    shown = page.locator("#tint")
    page.locator("#show-tint").uncheck()
    assert not shown.is_visible()
    page.locator("#show-tint").check()
    assert shown.is_visible()
    page.keyboard.down("h")
    assert not shown.is_visible()
    page.keyboard.up("h")
    assert shown.is_visible()
    page.mouse.move(*point(page, "#hide-tint", 0.5, 0.5))
    page.mouse.down()
    assert not shown.is_visible()
    page.mouse.up()
    assert shown.is_visible()


def test_the_outline_is_as_large_as_the_brush_and_at_the_pointer(page: Any) -> None:
    outline = page.locator("#outline")
    assert not outline.is_visible()
    page.keyboard.press("f")
    x, y = point(page, "#surface", 0.3, 0.4)
    page.mouse.move(x, y)
    photo = page.locator("#surface").bounding_box()
    box = outline.bounding_box()
    assert box["x"] + box["width"] / 2 == pytest.approx(x, abs=1.5)
    assert box["y"] + box["height"] / 2 == pytest.approx(y, abs=1.5)
    assert box["width"] == pytest.approx(0.12 * photo["width"], abs=2)
    page.keyboard.press("Escape")
    assert not outline.is_visible()
    assert page.get_attribute("[data-tool=faithful]", "aria-pressed") == "false"


def test_the_words_below_the_photo_say_what_a_press_does(page: Any) -> None:
    words = page.locator("#photo-help")
    assert "preview" in words.inner_text()
    page.keyboard.press("f")
    assert "to paint" in words.inner_text()
    assert "preview" not in words.inner_text()
    page.keyboard.press("Escape")
    assert "preview" in words.inner_text()


def test_wheel_and_keys_change_size_and_strength(page: Any) -> None:
    size, strength = page.locator("#brush-size"), page.locator("#brush-strength")
    page.mouse.move(*point(page, "#surface", 0.3, 0.4))
    page.mouse.wheel(0, -100)
    assert size.input_value() == "12"  # without a brush, the wheel scrolls
    page.keyboard.press("c")
    page.mouse.wheel(0, -100)
    page.wait_for_selector('#size-value:not(:text-is("12 %"))')
    assert int(size.input_value()) > 12
    page.keyboard.down("Shift")
    page.mouse.wheel(0, 100)
    page.keyboard.up("Shift")
    page.wait_for_selector('#strength-value:text-is("95 %")')
    page.keyboard.press("{")
    assert strength.input_value() == "90"
    before = int(size.input_value())
    page.keyboard.press("[")
    assert int(size.input_value()) < before


def test_a_weak_brush_goes_part_of_the_way(page: Any, tmp_path: Path) -> None:
    page.locator("#t").fill("1")
    page.locator("#brush-softness").fill("0")
    page.locator("#brush-strength").fill("50")
    page.click("[data-tool=faithful]")
    drag(page, "#surface", (0.3, 0.3), (0.3, 0.7), (0.3, 0.3))  # over itself: that does not add up
    assert saved_map(page, tmp_path)[100, 90] == pytest.approx(0.5, abs=0.01)


def test_a_brush_is_used_with_the_keyboard_alone(page: Any) -> None:
    page.locator("#surface").focus()
    page.keyboard.press("f")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert tint(page)[..., 3].max() > 100
    assert not page.is_disabled("#undo")


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}, "has_touch": True}], indirect=True)
def test_fingers_paint_and_pens_by_their_pressure(page: Any) -> None:
    page.locator("#brush-softness").fill("0")
    page.click("[data-tool=crisp]")
    client = page.context.new_cdp_session(page)
    x, y = point(page, "#surface", 0.25, 0.5)
    for kind, points in (("touchStart", [(x, y)]), ("touchMove", [(x, y + 20)]), ("touchEnd", [])):
        touches = [{"x": at[0], "y": at[1]} for at in points]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    page.wait_for_selector("#undo:not([disabled])")
    pen = {"pointerType": "pen", "button": "left", "buttons": 1, "clickCount": 1, "force": 0.5}
    x, y = point(page, "#surface", 0.75, 0.5)
    client.send("Input.dispatchMouseEvent", {"type": "mousePressed", "x": x, "y": y} | pen)
    client.send("Input.dispatchMouseEvent", {"type": "mouseReleased", "x": x, "y": y} | pen)
    shown = tint(page)
    finger, drawn = shown[100, 75, 3], shown[100, 225, 3]
    assert finger > 130
    assert 0.4 < drawn / finger < 0.6


def test_layers_lie_below_strokes(page: Any, served: ServedPage, tmp_path: Path) -> None:
    setup = page.request.get(f"{served.address}/api/setup").json()
    chips = page.locator("#layers button")
    assert [chip.get_attribute("data-layer") for chip in chips.all()] == [kind["name"] for kind in setup["maps"]]
    assert chips.first.get_attribute("title") == setup["maps"][0]["description"]
    page.locator("#t").fill("0.8")
    page.click("[data-layer='to the right']")
    page.wait_for_selector("[data-layer='to the right'][aria-pressed=true]")
    page.click("[data-layer=downwards]")
    page.wait_for_selector("[data-layer=downwards][aria-pressed=true]")
    values = saved_map(page, tmp_path)
    y, x = np.mgrid[:200, :300]
    assert values == pytest.approx(0.8 * np.minimum(x / 299, y / 199), abs=0.01)
    page.locator("#brush-softness").fill("0")
    page.click("[data-tool=crisp]")
    drag(page, "#surface", (0.1, 0.5), (0.2, 0.5))
    page.click("[data-layer=downwards]")
    page.wait_for_selector("[data-layer=downwards][aria-pressed=false]")
    values = saved_map(page, tmp_path)
    assert values[100, 45] == pytest.approx(1, abs=0.01)
    assert values[10] == pytest.approx(0.8 * np.arange(300) / 299, abs=0.01)


def test_the_suggestion_is_applied_by_one_click_and_undone_by_one(
    page: Any, served: ServedPage, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    setup = page.request.get(f"{served.address}/api/setup").json()
    button, words = page.locator("#suggest"), page.locator("#suggestion-text")
    assert button.text_content() == "Apply"
    assert words.text_content() == setup["suggestion"]["description"]
    page.locator("#t").fill("0.5")
    for undo in ("#suggest", "#undo"):
        button.click()
        page.wait_for_selector("#suggest:text-is('Remove')")
        assert page.text_content("#suggestion-title") == "Applied."
        assert "tinted blue" in words.text_content()
        expected = 0.5 * resize_plane(AUTOMATIC_MAPS["auto"].make(pixels), 200, 300)
        assert saved_map(page, tmp_path) == pytest.approx(expected, abs=0.01)
        assert page.text_content("#preview .badge.right") == "t 0.50, painted"
        page.click(undo)
        page.wait_for_selector("#suggest:text-is('Apply')")
        assert saved_map(page, tmp_path) == pytest.approx(np.full((200, 300), 0.5), abs=0.01)
        assert page.text_content("#preview .badge.right") == "t 0.50"


def test_the_suggestion_can_fail_and_be_tried_again(page: Any) -> None:
    page.route("**/maps/auto", lambda route: route.fulfill(status=503, body='{"detail": "too little memory"}'))
    page.click("#suggest")
    page.wait_for_selector("#map-error:text-is('Too little memory.')")
    assert page.text_content("#suggest") == "Apply"
    page.unroute_all()
    page.click("#suggest")
    page.wait_for_selector("#suggest:text-is('Remove')")
    assert not page.is_visible("#map-error")


def test_names_that_the_server_adds_become_layers(
    browser: Any, served: ServedPage, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    clouds = AutomaticMap("Clouds stay soft.", lambda pixels: np.zeros(pixels.shape[:2], np.float32))
    monkeypatch.setattr("fxsr.runtime.ui.maps.AUTOMATIC", {"clouds": clouds})
    with visiting(browser, served.address) as page:
        page.set_input_files("#photo-file", str(photo))
        assert page.get_attribute("[data-layer=clouds]", "title") == "Clouds stay soft."
        page.click("[data-layer=clouds]")  # which this server can't make after all
        page.wait_for_selector("#map-error:has-text('There is no style map called')")


def test_a_map_from_a_file_covers_everything_and_can_be_painted_on(page: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "given.png", Picture(np.full((5, 5, 1), 51, np.uint8)))
    page.set_input_files("#load-map", str(tmp_path / "given.png"))
    page.wait_for_selector("#undo:not([disabled])")
    assert saved_map(page, tmp_path) == pytest.approx(np.full((200, 300), 0.2), abs=0.003)
    page.click("[data-tool=crisp]")
    page.mouse.click(*point(page, "#surface", 0.5, 0.5))
    assert saved_map(page, tmp_path)[100, 150] > 0.9
    (tmp_path / "notes.png").write_bytes(b"no map")
    page.set_input_files("#load-map", str(tmp_path / "notes.png"))
    page.wait_for_selector("#map-error:has-text('notes.png')")


def test_a_model_with_one_style_takes_no_paint_and_gives_it_back(browser: Any, photo: Path) -> None:
    def models() -> dict[str, Upscaler]:
        return {"free": Upscaler(NearestSession(), 64, 8), "fixed": Upscaler(NearestSession(baked_t=0.5), 64, 8)}

    with serving_page(models=models) as served, visiting(browser, served.address) as page:
        open_photo(page, photo)
        page.click("[data-tool=faithful]")
        drag(page, "#surface", (0.3, 0.3), (0.5, 0.3))
        page.select_option("#model", "fixed")
        wait_for_picture(page)
        assert not page.is_visible("#preview-error")
        assert page.text_content("#preview .badge.right") == "t 0.50"
        assert page.is_disabled("#t")
        assert not page.is_visible("#tint")
        run_to_end(page)
        assert page.text_content("#result .badge.right") == "t 0.50"
        page.select_option("#model", "free")
        assert page.is_visible("#tint")
        assert not page.is_disabled("#t")
