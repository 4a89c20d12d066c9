from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import ImageError, UsageError
from fxsr.metrics import luma, ssim
from fxsr.training.evaluate import Pair, diversity_score, evaluate, load_pairs, spread
from fxsr.training.resize import bicubic_upscale, reduce_uint8
from tests.support import write_photos

Pixels = NDArray[np.uint8]


def photo(size: tuple[int, int] = (48, 64)) -> Pixels:
    y, x = np.mgrid[: size[0], : size[1]]
    wave = np.sin(x / 4) + np.cos(y / 5)
    return np.stack([wave * 50 + 128, wave * 40 + 100, x + y], 2).astype(np.uint8)


def pair() -> Pair:
    return Pair("photo", photo(), reduce_uint8(photo(), 4))


def mean_distance(sr: Pixels, hr: Pixels) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = np.abs(sr.astype(np.float32) - hr).mean(2)
    return distance


def test_ssim_of_equal_planes_is_one() -> None:
    plane = photo()[..., 0]
    assert ssim(plane, plane, 255) == pytest.approx(1)


def test_ssim_by_hand() -> None:
    flat, other = np.full((11, 11), 100.0), np.full((11, 11), 150.0)
    c1 = (0.01 * 255) ** 2
    assert ssim(flat, other, 255) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_ssim_falls_with_noise() -> None:
    plane = photo()[..., 0].astype(float)
    noise = np.random.default_rng(0).normal(0, 1, plane.shape)
    assert 1 > ssim(plane, plane + 5 * noise, 255) > ssim(plane, plane + 20 * noise, 255) > 0


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (20, 20, 3)])
def test_ssim_refuses_what_its_window_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(np.zeros(shape), np.zeros(shape))


def test_luma_is_matlabs() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(colours)[0], [16, 235, 81.481, 144.553, 40.966], atol=1e-3)


def test_a_perfect_upscaler_is_perfect() -> None:
    report = evaluate(lambda lr, t: photo(), [pair()], 4, (0.0,), mean_distance)
    bicubic, perfect = report.scores
    assert (bicubic.t, perfect.t) == (None, 0)
    assert (perfect.psnr, perfect.lr_psnr) == (math.inf, math.inf)
    assert perfect.ssim == pytest.approx(1)
    assert (perfect.shift, perfect.perceptual) == (0, 0)
    assert bicubic.psnr < 60


def test_bicubic_is_the_baseline() -> None:
    report = evaluate(lambda lr, t: bicubic_upscale(lr, 4), [pair()], 4, (0.5,))
    bicubic, same = report.scores
    assert dataclasses.replace(same, t=None) == bicubic
    assert same.perceptual is None


def test_a_shift_of_colour_is_measured() -> None:
    def tinted(lr: Pixels, t: float) -> Pixels:
        sr = photo().astype(int)
        sr[..., 1] += 3
        return sr.clip(0, 255).astype(np.uint8)

    assert evaluate(tinted, [pair()], 4, (0.0,)).scores[1].shift == pytest.approx(3, abs=0.05)


def test_each_style_is_asked_for_once() -> None:
    asked: list[float] = []

    def upscale(lr: Pixels, t: float) -> Pixels:
        asked.append(t)
        return bicubic_upscale(lr, 4)

    report = evaluate(upscale, [pair(), pair()], 4, (0.0, 1.0), mean_distance, (0.0, 0.5, 1.0))
    assert sorted(asked) == [0, 0, 0.5, 0.5, 1, 1]
    assert report.images == 2
    assert [scores.t for scores in report.scores] == [None, 0, 1]
    assert report.diversity == 0


def test_diversity_by_hand() -> None:
    first, second = np.array([[1.0, 4.0]], np.float32), np.array([[3.0, 1.0]], np.float32)
    # means 2.5 and 2, best 2; pixel by pixel 1 and 1, mean 1
    assert diversity_score([first, second]) == pytest.approx(50)
    assert diversity_score([second, second]) == 0


def test_spread() -> None:
    assert spread(5) == (0, 0.25, 0.5, 0.75, 1)
    assert spread(1) == spread(0) == ()


def test_pairs_are_cut_to_a_multiple_of_the_scale_and_limited(tmp_path: Path) -> None:
    write_photos(tmp_path, 3, (42, 51))
    pairs = load_pairs([tmp_path], [], 4, 2, pytest.fail)
    assert [p.name for p in pairs] == ["photo0.png", "photo1.png"]
    assert pairs[0].hr.shape == (40, 48, 3)
    assert pairs[0].lr.shape == (10, 12, 3)


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    write_photos(tmp_path, 1, (40, 40))
    (tmp_path / "a.png").write_bytes(b"?")
    said: list[str] = []
    assert len(load_pairs([tmp_path], [], 4, None, said.append)) == 1
    assert "a.png" in said[0]


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"?")
    with pytest.raises(ImageError, match="none of the images"):
        load_pairs([tmp_path], [], 4, None, lambda _: None)
    with pytest.raises(UsageError, match="no such folder"):
        load_pairs([tmp_path / "absent"], [], 4, None, lambda _: None)
