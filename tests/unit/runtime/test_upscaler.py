from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import ImageError, UsageError
from fxsr.images.rows import Rows
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.support import NearestSession


def nearest(image: NDArray[Any], scale: int = 4) -> NDArray[Any]:
    return image.repeat(scale, 0).repeat(scale, 1)


def random_image(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("shape", [(1, 1, 3), (23, 41, 3), (40, 9, 3), (17, 33), (17, 33, 1)])
def test_every_pixel_lands_in_its_place(shape: tuple[int, ...], tile: int, dtype: Any) -> None:
    image = random_image(shape, dtype)
    sr = Upscaler(NearestSession(), tile, overlap=4)(image, t=0)
    assert sr.dtype == image.dtype
    assert sr.shape == (shape[0] * 4, shape[1] * 4, *shape[2:])
    if np.dtype(dtype).kind == "f":
        assert np.allclose(sr, nearest(image), atol=1e-3 if dtype == np.float16 else 1e-6)
    else:
        assert np.abs(sr.astype(int) - nearest(image)).max() <= (1 if dtype == np.uint16 else 0)


def test_a_style_map_reaches_the_pixels_it_belongs_to() -> None:
    t_map = random_image((23, 41), np.float32)
    sr = Upscaler(NearestSession(gain=1.0), 16, 4)(np.zeros((23, 41, 3), np.float32), t_map)
    assert np.allclose(sr, nearest(t_map)[..., None], atol=1e-6)


def test_uniform_t_goes_in_as_1x1() -> None:
    session = NearestSession()
    Upscaler(session, 16, 4)(np.zeros((30, 30, 3), np.uint8), 0.5)
    assert {t_map for _, t_map in session.seen} == {(1, 1, 1, 1)}


def test_tiles_are_no_larger_than_asked_and_all_alike() -> None:
    session = NearestSession()
    Upscaler(session, 16, 4)(np.zeros((30, 70, 3), np.uint8), np.zeros((30, 70)))
    shapes = {lr for lr, _ in session.seen}
    assert len(shapes) == 1
    assert max(shapes.pop()[2:]) <= 16


def test_a_half_precision_session_gets_halves() -> None:
    image = random_image((20, 20, 3), np.uint8)
    assert np.array_equal(Upscaler(NearestSession(dtype=np.float16), 8, 2)(image, 0), nearest(image))


def test_integers_are_clamped_and_floats_are_not() -> None:
    overshooting = NearestSession(gain=1.0)
    assert Upscaler(overshooting)(np.full((2, 2, 3), 200, np.uint8), 1.0).max() == 255
    assert Upscaler(overshooting)(np.full((2, 2, 3), 0.5, np.float32), 1.0).max() == pytest.approx(1.5)


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_upscaled_on_its_own_and_hidden_colours_do_not_bleed(channels: int) -> None:
    image = np.zeros((12, 12, channels), np.uint8)
    image[3:9, 3:9] = 200
    image[3:9, 3:9, -1] = 255
    session = NearestSession()
    sr = Upscaler(session, 8, 2)(image, 1.0)
    assert np.array_equal(sr[..., -1], nearest(image[..., -1]))
    assert np.array_equal(np.unique(sr[..., :-1]), [200])


def test_alpha_has_no_style() -> None:
    image = np.full((8, 8, 4), 255, np.uint8)
    image[0, 0, 3] = 0
    session = NearestSession(gain=-0.5)
    sr = Upscaler(session)(image, 1.0)
    assert sr[10, 10].tolist() == [128, 128, 128, 255]


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_alpha_costs_nothing_and_stays(value: int) -> None:
    image = np.full((8, 8, 4), value, np.uint8)
    session = NearestSession()
    assert np.array_equal(Upscaler(session)(image, 0)[..., 3], np.full((32, 32), value))
    assert len(session.seen) == 1


def test_progress_counts_every_tile_once() -> None:
    calls: list[tuple[int, int]] = []
    image = np.zeros((30, 30, 4), np.uint8)
    image[0, 0, 3] = 1
    Upscaler(NearestSession(), 16, 4)(image, 0, lambda done, total: calls.append((done, total)))
    total = calls[0][1]
    assert calls == [(i, total) for i in range(1, total + 1)]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.zeros((5, 5, 5), np.uint8), "1 to 4 channels"),
        (np.zeros(5, np.uint8), "1 to 4 channels"),
        (np.zeros((5, 5, 3), np.int32), "int32"),
        (np.full((5, 5, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_image_is_refused(image: NDArray[Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Upscaler(NearestSession())(image)


def test_an_overlap_that_fills_the_tile_is_refused() -> None:
    with pytest.raises(UsageError, match="--overlap 32 or less"):
        Upscaler(NearestSession(), tile=64, overlap=40)


def test_threads_may_share_one_upscaler() -> None:
    class OneAtATime(NearestSession):
        busy = False

        def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
            assert not self.busy
            self.busy = True
            try:
                return super().run(lr, t_map)
            finally:
                self.busy = False

    upscaler = Upscaler(OneAtATime(), 16, 4)
    images = [random_image((30 + i, 40, 3), np.uint8) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda image: upscaler(image, 0), images))
    assert all(np.array_equal(sr, nearest(image)) for sr, image in zip(results, images, strict=True))


def test_a_second_image_in_one_thread_is_refused_until_the_first_is_done() -> None:
    upscaler = Upscaler(NearestSession(), 16, 4)
    image = random_image((40, 30, 3), np.uint8)
    first, second = (upscaler.stream(Rows.of(image), 0) for _ in range(2))
    bands = [next(first.bands)]
    with pytest.raises(UsageError, match="another image is in work in this thread"):
        next(second.bands)
    with pytest.raises(UsageError, match="another image is in work in this thread"):
        upscaler(image, 0)
    bands += first.bands
    assert np.array_equal(np.concatenate(bands), nearest(image))
    assert np.array_equal(upscaler(image, 0), nearest(image))


def test_closing_closes_the_session_and_use_after_that_says_so() -> None:
    session = NearestSession()
    image = random_image((9, 9, 3), np.uint8)
    with Upscaler(session) as upscaler:
        begun = upscaler.stream(Rows.of(image))
    assert session.closed
    with pytest.raises(UsageError, match="this upscaler is closed; load the model again"):
        upscaler(image)
    with pytest.raises(UsageError, match="this upscaler is closed"):
        begun.whole()


def test_tensors_of_torch_are_refused_with_advice() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3, 9, 9)
    upscaler = Upscaler(NearestSession())
    with pytest.raises(ImageError, match=r"give x\.permute\(1, 2, 0\)\.cpu\(\)\.numpy\(\)"):
        upscaler(tensor)
    assert upscaler(tensor.permute(1, 2, 0).cpu().numpy()).shape == (36, 36, 3)
