"""How the page looks and is used without a mouse: on phones, in the dark, by keyboard, and with little motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browsing import ServedPage, open_photo, run_to_end, visiting, wait_for_picture, write_photo

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 3}
NARROW = {"viewport": {"width": 320, "height": 640}}
SMALL = {"viewport": {"width": 900, "height": 700}}

OVERLAPS = """() => {
  const kinds = 'button, label, select, output, h2, .soft, .badge, input[type=range], input[type=number], .ends span';
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width > 2;
  const all = [...document.querySelectorAll(kinds)].filter(shown), wrong = [];
  const name = (e) => e.id || e.textContent.trim();
  for (const one of all) {
    const a = one.getBoundingClientRect();
    const cut = one.clientWidth && one.scrollWidth > one.clientWidth + 1;
    if (cut && getComputedStyle(one).display !== 'inline') wrong.push('cut: ' + name(one));
    if (a.left < -1 || a.right > document.documentElement.clientWidth + 1) wrong.push('outside: ' + name(one));
    for (const other of all) {
      if (one === other || one.contains(other) || other.contains(one)) continue;
      const b = other.getBoundingClientRect();
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 3) wrong.push(`${name(one)} on ${name(other)}`);
    }
  }
  return wrong;
}"""

WEAK_TEXTS = """() => {
  const parse = (colour) => {
    const parts = colour.match(/[\\d.]+/g).map(Number);
    const full = colour.startsWith('color(') ? parts.map((v, i) => i < 3 ? 255 * v : v) : parts;
    return [...full, 1].slice(0, 4);
  };
  const linear = (v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0.7) return colour;
    }
    return [255, 255, 255, 1];
  };
  const weak = [];
  for (const e of document.querySelectorAll('button, label, h1, h2, span, p, output, a, select')) {
    if (!e.checkVisibility({ visibilityProperty: true }) || !e.textContent.trim() || e.closest(':disabled')) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) weak.push([e.id || e.textContent.trim().slice(0, 30), contrast]);
  }
  return weak;
}"""

NAMELESS = """() => [...document.querySelectorAll('button, input, select, [tabindex="0"]')]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
  .map((e) => e.outerHTML)"""


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_shows_photo_preview_dial_brush_and_run_in_this_order(page: Any) -> None:
    tops = [
        page.locator(each).bounding_box()["y"]
        for each in ("#photo-panel", "#preview", "#dial-panel", "#paint-panel", "#run-panel")
    ]
    assert tops == sorted(tops)


@pytest.mark.parametrize("page", [{}, PHONE, SMALL, NARROW], indirect=True)
def test_nothing_overlaps_and_no_label_is_cut(page: Any) -> None:
    page.click("#against [data-against=t]")
    run_to_end(page)
    page.locator("#t").fill("0.3")
    wait_for_picture(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("size", [PHONE, SMALL, NARROW])
def test_a_long_name_leaves_room_for_what_the_photo_is(
    browser: Any, served: ServedPage, tmp_path: Path, size: dict[str, Any]
) -> None:
    photo = tmp_path / f"{'a-long-name-' * 5}.png"
    write_photo(photo, channels=4)
    with visiting(browser, served.address, **size) as page:
        open_photo(page, photo)
        assert "transparency" in page.text_content("#photo-facts")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("page", [NARROW], indirect=True)
def test_the_narrowest_phone_has_one_row_for_the_bar_and_one_for_the_brushes(page: Any) -> None:
    for row in (".bar > .button, #help-button", "#tools button"):
        page.click("[data-tool=faithful]")  # its name gets bold
        tops = [each.bounding_box()["y"] for each in page.locator(row).all()]
        assert max(tops) - min(tops) < 10
        page.keyboard.press("Escape")


@pytest.mark.parametrize("page", [NARROW], indirect=True)
def test_help_opens_at_its_beginning(page: Any) -> None:
    page.click("#help-button")
    help_page = page.locator("#help")
    assert help_page.evaluate("dialog => dialog.scrollHeight > dialog.clientHeight && dialog.scrollTop === 0")
    page.locator("#help-close").scroll_into_view_if_needed()
    page.click("#help-close")
    assert not help_page.is_visible()


@pytest.mark.parametrize("page", [{}, {"color_scheme": "dark"}], indirect=True)
def test_text_has_enough_contrast(page: Any) -> None:
    run_to_end(page)
    page.locator("#t").fill("0.3")
    wait_for_picture(page)
    assert page.evaluate(WEAK_TEXTS) == []


def test_everything_has_a_name_and_is_reached_by_tab(page: Any) -> None:
    assert page.evaluate(NAMELESS) == []
    seen: set[str] = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"surface", "t", "t-number", "run", "split", "brush-size", "show-tint", "load-map", "format"} <= seen


def test_little_moves_where_that_is_not_wanted(browser: Any, served: ServedPage, photo: Path) -> None:
    with visiting(browser, served.address, reduced_motion="reduce") as page:
        open_photo(page, photo)
        spinner = "getComputedStyle(document.querySelector('#preview .spinner')).animationName"
        assert page.evaluate(spinner) == "pulse"
