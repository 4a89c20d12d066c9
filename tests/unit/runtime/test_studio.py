"""The page's work without a page: paintings, previews, whole images."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.errors import ImageError, StyleError, UsageError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.rows import Pixels
from fxsr.runtime.serve.photos import OpenPhoto
from fxsr.runtime.serve.scheduler import RequestAbandonedError
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.ui.painting import SIDE, Painting, painting_size
from fxsr.runtime.ui.studio import AUTOMATIC, Studio, StyleChoice, as_bytes, window
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.style_map import StyleMap
from tests.imagefiles import flat, write_png
from tests.support import NearestSession

RNG = np.random.default_rng(4)
PIXELS = RNG.integers(0, 200, (150, 260, 3), np.uint8)


@pytest.fixture
def studio() -> Iterator[Studio]:
    with Studio(lambda: {"m": Upscaler(NearestSession(gain=0.2), 64, 8)}, Settings(max_pixels=100_000)) as studio:
        yield studio
    assert not studio.folder.exists()


@pytest.fixture
def photo(studio: Studio, tmp_path: Path) -> OpenPhoto:
    write_image(tmp_path / "photo.png", Picture(PIXELS))
    return studio.open(tmp_path / "photo.png")


def left_half() -> Painting:
    """t = 0 on the left, nothing on the right."""
    cover = np.zeros((150, 260), np.uint8)
    cover[:, :130] = 255
    return Painting(np.zeros_like(cover), cover)


def test_a_painting_survives_the_way_to_the_browser_and_back() -> None:
    painting = Painting(RNG.integers(0, 255, (7, 5), np.uint8), RNG.integers(0, 255, (7, 5), np.uint8))
    back = Painting.from_browser(painting.for_browser() | {"look": [0, 1]})
    assert back is not None
    assert np.array_equal(back.style, painting.style)
    assert np.array_equal(back.cover, painting.cover)


@pytest.mark.parametrize("value", [None, {}, {"width": 3, "height": 2, "planes": "", "look": [0, 0]}])
def test_nothing_painted_is_no_painting(value: dict[str, Any] | None) -> None:
    assert Painting.from_browser(value) is None


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "value",
    [
        {"planes": packed(b"1234")},
        {"width": 2, "height": 1, "planes": "not base64"},
        {"width": 2, "height": 1, "planes": base64.b64encode(b"not deflated").decode()},
        {"width": 2, "height": 1, "planes": packed(b"123")},
        {"width": SIDE + 1, "height": 1, "planes": packed(bytes(2 * SIDE + 2))},
        {"width": 0, "height": 1, "planes": packed(b"")},
        {"width": "wide", "height": 1, "planes": packed(b"12")},
    ],
)
def test_what_is_no_painting_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(StyleError, match="not a painting"):
        Painting.from_browser(value)


def test_a_painting_covers_the_dial_as_far_as_it_reaches() -> None:
    painting = Painting(np.array([[255, 0, 255]], np.uint8), np.array([[0, 255, 51]], np.uint8))
    assert painting.over(0.5).values == pytest.approx(np.array([[0.5, 0, 0.2 + 0.8 * 0.5]]))


@pytest.mark.parametrize(
    ("size", "expected"), [((800, 600), (800, 600)), ((4096, 2048), (1024, 512)), ((9000, 1), (1024, 1))]
)
def test_paintings_are_of_bounded_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert painting_size(*size) == expected


@pytest.mark.parametrize(
    ("part", "side", "expected"),
    [(0.5, 300, slice(102, 198)), (0, 300, slice(0, 96)), (1, 300, slice(204, 300)), (0.7, 40, slice(0, 40))],
)
def test_a_window_stays_within_the_photo(part: float, side: int, expected: slice) -> None:
    assert window(part, side) == expected


def test_a_run_is_that_of_a_map_and_the_preview_is_a_piece_of_it(studio: Studio, photo: OpenPhoto) -> None:
    style, seen = StyleChoice(1, left_half()), []
    file, before, after = studio.run("me", "m", photo, style, None, lambda done, total: seen.append((done, total)))
    assert file.name == "photo_x4.png"
    assert before.shape == after.shape == (600, 1040, 3)
    assert seen[-1][0] == seen[-1][1] == len(seen)
    result = read_image(file).pixels
    assert np.array_equal(result[:, :500], PIXELS.repeat(4, 0).repeat(4, 1)[:, :500])
    assert np.array_equal(result[:, 540:], (PIXELS + np.uint8(51)).repeat(4, 0).repeat(4, 1)[:, 540:])
    saved = StyleMap.read(studio.save_map(style, photo))
    assert saved.values.shape == (150, 260)
    assert np.array_equal(Upscaler(NearestSession(gain=0.2), 64, 8)(PIXELS, saved), result)
    plain, crisp = studio.preview("m", photo, style, (0.5, 1))
    assert plain.shape == crisp.shape == (384, 384, 3)
    assert np.array_equal(crisp, result[54 * 4 :, 82 * 4 : 178 * 4])


def test_a_uniform_style_needs_no_map(studio: Studio, photo: OpenPhoto) -> None:
    file, _, _ = studio.run("me", "m", photo, StyleChoice(0.5), "webp", lambda done, total: None)
    assert file.suffix == ".webp"
    assert np.unique(StyleMap.read(studio.save_map(StyleChoice(0.25), photo)).values) == pytest.approx([0.25], abs=1e-4)


@pytest.mark.parametrize("name", ["bmp", "exr", "tiff"])
def test_a_result_of_any_format_is_shown(name: str, studio: Studio, photo: OpenPhoto) -> None:
    _, before, after = studio.run("me", "m", photo, StyleChoice(0), name, lambda done, total: None)
    assert before.shape == after.shape == (600, 1040, 3)
    assert np.abs(after.astype(int) - PIXELS.repeat(4, 0).repeat(4, 1)).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "chunks", "expected"),
    [
        (flat(60, 200, 60, size=40), [(b"cICP", bytes([12, 13, 0, 1]))], [0, 203, 11]),
        (flat(60, size=40), [], [60, 60, 60]),
        (flat(60, 128, size=40), [], [60, 60, 60]),
    ],
    ids=["wide", "grey", "grey with alpha"],
)
def test_results_are_shown_in_srgb(
    pixels: Pixels, chunks: list[tuple[bytes, bytes]], expected: list[int], studio: Studio, tmp_path: Path
) -> None:
    photo = studio.open(write_png(tmp_path / "photo.png", pixels, *chunks))
    style = StyleChoice(0)
    file, before, after = studio.run("someone", "m", photo, style, None, lambda done, total: None)
    assert file.suffix == ".png"
    assert before[80, 80].tolist() == pytest.approx(expected, abs=2)
    assert after[80, 80].tolist() == pytest.approx(expected, abs=2)


def test_a_run_can_be_stopped_by_who_began_it(studio: Studio, photo: OpenPhoto) -> None:
    def progress(done: int, total: int) -> None:
        studio.stop("somebody else")
        if done == 1:
            studio.stop("me")

    with pytest.raises(RequestAbandonedError, match="stopped"):
        studio.run("me", "m", photo, StyleChoice(0), None, progress)


def test_a_fixed_style_is_not_painted_over(photo: OpenPhoto) -> None:
    fixed = NearestSession(gain=0.2, baked_t=0.5)
    with Studio(lambda: {"f": Upscaler(fixed, 64, 8)}, Settings(max_pixels=100_000)) as studio:
        assert studio.fixed_style("f") == 0.5
        studio.preview("f", photo, StyleChoice(0.8), (0.5, 0.5))
        for attempt in (
            lambda style: studio.preview("f", photo, style, (0.5, 0.5)),
            lambda style: studio.run("me", "f", photo, style, None, lambda done, total: None),
        ):
            with pytest.raises(UsageError, match="f was exported with t fixed at 0\\.5; leave out"):
                attempt(StyleChoice(0.8, left_half()))


@pytest.mark.parametrize("kind", AUTOMATIC)
def test_automatic_maps_are_paintings(kind: str, studio: Studio, photo: OpenPhoto) -> None:
    painting = studio.make_map(kind, photo)
    assert painting.style.shape == (150, 260)
    assert painting.cover.min() == 255


def test_a_map_is_laid_over_the_photo(studio: Studio, photo: OpenPhoto, tmp_path: Path) -> None:
    write_image(tmp_path / "map.png", Picture(np.full((5, 4, 1), 51, np.uint8)))
    assert (studio.read_map(tmp_path / "map.png", photo).style == 51).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "bad.png: empty file"),
        (b"<svg></svg>", "bad.png: not an image that can be read: it is an SVG drawing"),
        (b"\x89PNG\r\n\x1a\nmore", "bad.png: "),
    ],
)
def test_what_is_no_photo_is_named_without_its_folder(
    data: bytes, message: str, studio: Studio, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        studio.open(tmp_path / "bad.png")
    assert str(tmp_path) not in str(caught.value)


def test_a_photo_that_is_too_large_is_refused(studio: Studio, tmp_path: Path) -> None:
    write_image(tmp_path / "large.png", Picture(np.zeros((400, 300, 1), np.uint8)))
    with pytest.raises(ImageError, match=r"large\.png: 300x400 has more than the 100000 pixels"):
        studio.open(tmp_path / "large.png")


def test_all_kinds_of_pixels_can_be_shown(studio: Studio, photo: OpenPhoto) -> None:
    grey = np.array([[[0], [65535]]], np.uint16)
    assert as_bytes(grey).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert as_bytes(np.array([[[0.5, 2, -1, 1]]], np.float32)).tolist() == [[[128, 255, 0]]]
    assert studio.shown(photo).startswith("data:image/jpeg;base64,")
