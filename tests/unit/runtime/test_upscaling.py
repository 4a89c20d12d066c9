"""Images that pass by from top to bottom: the same as in one piece, whatever the bands they come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import ImageError, ModelFileError
from fxsr.images.rows import Rows
from fxsr.runtime.session import Array
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.style_map import StyleMap
from tests.support import NearestSession

RNG = np.random.default_rng(11)


class Deep(NearestSession):
    """Takes three batches before it gives the first result, as devices do, and uses one memory for all results."""

    def stream(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[Array]:
        under_way: deque[tuple[Array, Array]] = deque()
        for batch in batches:
            under_way.append(batch)
            if len(under_way) == 3:
                yield from self._volatile(*under_way.popleft())
        for batch in under_way:
            yield from self._volatile(*batch)

    def _volatile(self, lr: Array, t_map: Array) -> Iterator[Array]:
        sr = self.run(lr, t_map)
        yield sr
        sr[:] = np.nan


def nearest(image: NDArray[Any]) -> NDArray[Any]:
    return image.repeat(4, 0).repeat(4, 1)


def in_bands(image: NDArray[Any], height: int) -> Rows:
    bands = (image[top : top + height] for top in range(0, len(image), height))
    return replace(Rows.of(image), bands=bands)


def some_image(channels: int, dtype: Any = np.uint8, size: tuple[int, int] = (61, 45)) -> NDArray[Any]:
    return RNG.integers(0, 256, (*size, channels)).astype(dtype)


@pytest.mark.parametrize("overlap", [0, 1, 5])
@pytest.mark.parametrize("band", [1, 7, 100])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bands_of_any_height_make_the_same_image(channels: int, band: int, overlap: int) -> None:
    image = some_image(channels)
    image[20:24, 10:30, -1] = 255
    upscaler = Upscaler(Deep(batch=2), 16, overlap)
    upscaled = upscaler.stream(in_bands(image, band), 0)
    assert (upscaled.height, upscaled.width, upscaled.channels) == (244, 180, channels)
    pixels = upscaled.whole()
    if channels in (2, 4):  # under alpha 0 colours are made up
        visible = nearest(image[..., -1]) > 0
        assert np.array_equal(pixels[visible], nearest(image)[visible])
        assert np.array_equal(pixels[..., -1], nearest(image[..., -1]))
    else:
        assert np.array_equal(pixels, nearest(image))


def test_no_more_rows_are_taken_than_the_work_at_hand_needs() -> None:
    taken: list[int] = []

    def bands() -> Iterator[NDArray[Any]]:
        for row in range(400):
            taken.append(row)
            yield np.zeros((1, 16, 3), np.uint8)

    image = Rows(400, 16, 3, np.dtype(np.uint8), bands())
    done = 0
    for band in Upscaler(NearestSession(), 16, 4).stream(image, 0).bands:
        done += len(band) // 4
        assert len(taken) <= done + 16 + 1 + 4  # a tile, and the overlap of what is not final yet
    assert done == 400


def test_an_image_that_breaks_off_is_an_error() -> None:
    image = replace(Rows.of(some_image(3)), height=80)
    with pytest.raises(ImageError, match="the image ends at row 61 of 80"):
        Upscaler(NearestSession(), 16, 4).stream(image, 0).whole()


def test_alpha_that_is_the_same_all_over_a_tile_takes_no_work_there() -> None:
    image = some_image(4, size=(16, 64))
    image[..., 3] = 255
    image[5, 60, 3] = 7
    session = NearestSession()
    sr = Upscaler(session, 16, 0)(image, 0)
    assert np.array_equal(sr, nearest(image))
    assert len(session.seen) == 5 + 1  # with their border, 64 columns take 5 tiles


def test_one_style_all_over_is_the_same_as_a_number() -> None:
    image = some_image(3, np.float32) / 255
    session = NearestSession(gain=1.0)
    upscaler = Upscaler(session, 16, 4)
    by_map = upscaler(image, np.full((61, 45), 0.25))
    assert np.array_equal(by_map, upscaler(image, 0.25))
    assert {t_map for _, t_map in session.seen} == {(1, 1, 1, 1)}


@pytest.mark.parametrize("size", [(61, 45), (30, 22), (7, 200)])
@pytest.mark.parametrize("feather", [0, 0.5, 9, 500])
def test_a_map_laid_on_row_by_row_is_the_map_resized_and_feathered_as_a_whole(
    size: tuple[int, int], feather: float
) -> None:
    style = StyleMap.from_array(RNG.random(size))
    whole = style.resized(61, 45).feathered(feather).values
    rows = style.over(61, 45, feather)
    for window in (slice(0, 16), slice(20, 36), slice(45, 61)):
        assert np.allclose(rows.rows(window), whole[window], atol=1e-5)  # sums of float32 in another order


def test_range_and_feather_may_change_places() -> None:
    """So a map is ranged in its own size, and softened where it is used."""
    style = StyleMap.from_array(RNG.random((9, 9)))
    before = style.ranged(0.2, 0.7).resized(40, 40).feathered(5).values
    after = style.resized(40, 40).feathered(5).ranged(0.2, 0.7).values
    assert np.allclose(before, after, atol=1e-5)


class Broken(NearestSession):
    """Gives one value that is not finite, in the tile that has a pixel of 200."""

    def run(self, lr: Array, t_map: Array) -> Array:
        sr = super().run(lr, t_map)
        if (lr > 0.7).any():
            sr[0, 1, 2, 3] = np.inf
        return sr


@pytest.mark.parametrize("where", [(0, 0), (60, 40)])
def test_nan_and_infinity_of_a_model_never_reach_an_image(where: tuple[int, int]) -> None:
    image = np.zeros((64, 45, 3), np.uint8)
    image[where] = 200
    with pytest.raises(ModelFileError, match="nearest gives NaN or infinity: its weights may be damaged"):
        Upscaler(Broken(), 32, 4)(image)


def test_what_half_precision_cannot_hold_is_refused() -> None:
    image = np.full((20, 20, 3), 0.5, np.float32)
    image[3, 3] = 70000
    with pytest.raises(ImageError, match="holds the value 70000; nearest computes up to 65504; use a model in float32"):
        Upscaler(NearestSession(dtype=np.float16))(image)
    assert np.isfinite(Upscaler(NearestSession())(image)).all()


def test_what_an_image_of_halves_cannot_hold_is_clamped_with_a_note() -> None:
    notes: list[str] = []
    image = np.full((20, 20, 3), 65000, np.float16)
    upscaled = Upscaler(NearestSession(gain=1000.0), 16, 4)(image, 1.0, note=notes.append)
    assert upscaled.dtype == np.float16
    assert (upscaled == 65504).all()
    assert notes == ["values beyond 65504, which half precision can't hold, are clamped to it"]
