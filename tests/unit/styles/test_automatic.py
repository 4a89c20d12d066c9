"""Style maps that photos make by themselves: names, combination, and the parts that need no detector."""

from __future__ import annotations

import numpy as np
import pytest

from fxsr.errors import MissingExtraError, UsageError
from fxsr.images.rows import Rows, reduced_whole
from fxsr.styles.automatic import detector, registry
from fxsr.styles.automatic.focus import focus
from fxsr.styles.automatic.registry import AUTOMATIC_MAPS, AutomaticMap, AutomaticStyle
from fxsr.styles.automatic.text import strokes
from fxsr.styles.maps import feather

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("words", "names"),
    [("auto", ("auto",)), ("auto:faces", ("faces",)), ("auto:text+focus", ("text", "focus"))],
)
def test_words_name_automatic_maps(words: str, names: tuple[str, ...]) -> None:
    style = AutomaticStyle.parse(words)
    assert style == AutomaticStyle(names)
    assert str(style) == words


def test_a_map_that_is_named_twice_is_made_once() -> None:
    assert AutomaticStyle.parse("auto:text+focus+text") == AutomaticStyle(("text", "focus"))


@pytest.mark.parametrize("words", ["map.png", "automatic.png", "./auto", "Auto"])
def test_other_words_are_files(words: str) -> None:
    assert AutomaticStyle.parse(words) is None


@pytest.mark.parametrize("words", ["auto:", "auto:cats", "auto:faces+", "auto:text,focus"])
def test_an_unknown_automatic_map_is_refused_with_the_known_ones(words: str) -> None:
    with pytest.raises(UsageError, match="choose of auto, faces, text, focus, texture"):
        AutomaticStyle.parse(words)


def test_several_maps_give_the_smallest_t(monkeypatch: pytest.MonkeyPatch) -> None:
    left, top = np.ones((4, 6), np.float32), np.ones((2, 3), np.float32)
    left[:, :3], top[0] = 0.25, 0.5
    kinds = {"left": AutomaticMap("", lambda image: left), "top": AutomaticMap("", lambda image: top)}
    monkeypatch.setattr(registry, "AUTOMATIC_MAPS", kinds)
    values = AutomaticStyle(("left", "top")).of(np.zeros((4, 6, 3), np.uint8)).values
    assert values.shape == (4, 6)
    assert (values[:, 0] == 0.25).all()
    assert values[0, 5] == 0.5
    assert values[3, 5] == 1


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "is_installed", lambda package: False)
    assert AutomaticStyle(("auto",)).notes == (
        "the style map does not look for faces and text: their packages are not installed",
    )
    assert AutomaticStyle(("focus",)).notes == ()
    AutomaticStyle(("auto", "focus")).check_installed()
    with pytest.raises(MissingExtraError, match="faces"):
        AutomaticStyle(("focus", "faces")).check_installed()
    values = AutomaticStyle(("auto",)).of(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)).values
    assert values.shape == (40, 50)


@pytest.mark.parametrize("name", ["faces", "text"])
def test_a_detector_that_is_not_installed_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=name):
        AUTOMATIC_MAPS[name].make(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("name", ["focus", "texture"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 1), (7, 5, 4), (64, 48, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_maps_of_any_image_lie_in_0_to_1(name: str, shape: tuple[int, ...], dtype: type) -> None:
    image = RNG.random(shape) * (1 if dtype == np.float32 else np.iinfo(dtype).max)
    plane = AUTOMATIC_MAPS[name].make(image.astype(dtype))
    assert plane.shape == shape[:2]
    assert plane.min() >= 0
    assert plane.max() <= 1


def test_focus_is_high_on_the_sharp_half_only() -> None:
    blocks = RNG.random((40, 60)).repeat(6, 0).repeat(6, 1).astype(np.float32)
    sharp = feather(blocks, 1)
    photo = np.where(np.arange(360) < 180, sharp, feather(blocks, 14)).astype(np.float32)
    plane = focus(photo[..., None])
    assert plane[:, :140].mean() > 0.9
    assert plane[:, 220:].mean() < 0.1


def test_strokes_are_ink_on_paper_and_no_single_edge() -> None:
    page = np.full((160, 200, 1), 235, np.uint8)
    page[20:140, 100:] = 30  # an edge alone
    page[40:120:7, 10:80] = 20  # lines
    page[43:120:7, 10:80] = 20
    found = strokes(page)
    assert found[60:100, 30:60].min() > 0.8
    assert found[60:100, 150:].max() < 0.2


def test_a_reduced_image_holds_means_of_squares() -> None:
    pixels = RNG.integers(0, 256, (11, 7, 3), dtype=np.uint8)
    reduced = reduced_whole(Rows.of(pixels), 4)
    assert reduced.shape == (3, 2, 3)
    assert reduced[0, 0, 0] == round(float(pixels[:4, :4, 0].mean()) + 1e-9)
    assert reduced[2, 1, 2] == int(pixels[8:, 4:, 2].mean() + 0.5)
    assert (reduced_whole(Rows.of(pixels), 1) == pixels).all()
