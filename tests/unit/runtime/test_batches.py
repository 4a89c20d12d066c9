"""Tiles in batches, in the shapes that a session takes, and in smaller ones where memory is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import OutOfMemoryError, UsageError
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.support import NearestSession

RNG = np.random.default_rng(5)


def nearest(image: NDArray[Any]) -> NDArray[Any]:
    return image.repeat(4, 0).repeat(4, 1)


class Small(NearestSession):
    """Has memory for so many LR pixels at once."""

    def __init__(self, room: int, **limits: Any) -> None:
        super().__init__(**limits)
        self.room = room

    def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
        if lr.shape[0] * lr.shape[2] * lr.shape[3] > self.room:
            raise OutOfMemoryError("the test device is full")
        return super().run(lr, t_map)


def test_tiles_go_through_in_batches() -> None:
    image = RNG.integers(0, 255, (40, 100, 3), np.uint8)
    session = NearestSession(batch=4)
    assert np.array_equal(Upscaler(session, 16, 4)(image, 0), nearest(image))
    counts = [lr[0] for lr, _ in session.seen]
    assert max(counts) == 4
    assert counts[:-1] == [4] * (len(counts) - 1)  # over the ends of rows, too


def test_where_a_map_has_one_style_a_tile_is_given_that_alone() -> None:
    t_map = np.zeros((16, 64))
    t_map[:, 40:] = np.linspace(0, 1, 24)
    session = NearestSession(gain=1.0, batch=2)
    sr = Upscaler(session, 16, 4)(np.zeros((16, 64, 3), np.float32), t_map)
    assert np.allclose(sr, nearest(t_map)[..., None], atol=1e-6)
    assert {t[2:] for _, t in session.seen} == {(1, 1), (32, 16)}  # 16 rows and their border are one tile


@pytest.mark.parametrize("size", [(5, 7), (16, 24), (40, 61)])
def test_a_session_of_one_shape_is_given_just_that(size: tuple[int, int]) -> None:
    image = RNG.integers(0, 255, (*size, 3), np.uint8)
    t_map = RNG.random(size)
    for style in (0.0, t_map):
        session = NearestSession(batch=3, tile=(16, 24), least=(3, 16, 24))
        assert np.array_equal(Upscaler(session, overlap=4)(image, style), nearest(image))
        assert {lr for lr, _ in session.seen} == {(3, 3, 16, 24)}
        assert {t[2:] for _, t in session.seen} == ({(1, 1)} if style is not t_map else {(16, 24)})


def test_images_below_the_smallest_size_of_an_engine_are_filled_up_to_it() -> None:
    image = RNG.integers(0, 255, (5, 7, 3), np.uint8)
    for style in (0.0, RNG.random((5, 7))):
        session = NearestSession(batch=4, tile=(32, 32), least=(1, 24, 32))
        assert np.array_equal(Upscaler(session, overlap=4)(image, style), nearest(image))
        assert {lr[2:] for lr, _ in session.seen} == {(24, 32)}


def test_tiles_are_as_large_as_the_session_takes() -> None:
    assert Upscaler(NearestSession(tile=(64, 48))).tile == 48
    assert Upscaler(NearestSession(tile=(512, 512))).tile == 256
    with pytest.raises(UsageError, match="tile 64 exceeds 48: export again with a larger --tile, or run with"):
        Upscaler(NearestSession(tile=(64, 48)), tile=64)
    with pytest.raises(UsageError, match="can't upscale images whole"):
        Upscaler(NearestSession(tile=(64, 48)), tile=0)


@pytest.mark.parametrize("room", [128 * 128 * 2, 128 * 128, 100 * 100])
def test_where_memory_is_short_smaller_ones_finish_the_job(room: int) -> None:
    image = RNG.integers(0, 255, (200, 300, 3), np.uint8)
    t_map = RNG.random((200, 300))
    notes: list[str] = []
    session = Small(room, batch=4)
    assert np.array_equal(Upscaler(session, 128, 16)(image, t_map, note=notes.append), nearest(image))
    assert notes == ["too little memory for tiles of this size or number: cut into smaller ones"]


def test_where_it_is_short_of_everything_it_is_an_error() -> None:
    with pytest.raises(OutOfMemoryError, match="too little memory for a tile of"):
        Upscaler(Small(1000), 128, 16)(np.zeros((200, 300, 3), np.uint8), 0)
    with pytest.raises(OutOfMemoryError, match="the test device is full"):
        Upscaler(Small(1000, tile=(64, 64), least=(1, 64, 64)), 64, 16)(np.zeros((80, 80, 3), np.uint8), 0)
