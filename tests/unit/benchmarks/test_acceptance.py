from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxsr.benchmarks.acceptance import Figure, pd_figures, photo_figures, worn
from fxsr.benchmarks.drawings import draw, make_drawings, make_plain
from fxsr.errors import UsageError
from fxsr.training.cache import Pixels
from fxsr.training.resize import bicubic_upscale
from tests.support import write_photos


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    for name in ("native", "bsd-like", "set5-like"):
        write_photos(tmp_path / name, 1, (96, 96))
    return tmp_path


def brighter(lr: Pixels, t: float) -> Pixels:
    """Bicubic, and every level of t costs a level of brightness."""
    return np.clip(bicubic_upscale(lr, 4).astype(np.int16) + round(4 * t), 0, 255).astype(np.uint8)


def difference(sr: Pixels, hr: Pixels) -> float:
    return float(np.abs(sr.astype(np.int16) - hr).mean())


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_the_figures_of_a_photo_model(sets: Path) -> None:
    found = by_name(photo_figures(brighter, 4, sets, {"judge": difference}, lambda lr: brighter(lr, 1)))
    gain = found["worn: PSNR-Y over bicubic at t = 0, dB (2 photos)"]
    assert gain.value == pytest.approx(0)
    assert gain.accepted is False
    flats = [found[f"flat colours at t = {t}: largest deviation, levels of 255"] for t in ("0", "0.5", "1")]
    assert [figure.value for figure in flats] == [0, 2, 4]
    assert [figure.accepted for figure in flats] == [True, True, False]
    judged = found["worn: judge at t = 1"]
    assert judged.limit == pytest.approx(1.15 * judged.value)
    assert judged.accepted
    assert found["native: grid at t = 0.5"].accepted
    assert found["native: largest change per step of t over the smallest"].value == pytest.approx(1)


def test_the_figures_of_a_model_for_the_papers_setting(sets: Path) -> None:
    found = by_name(pd_figures(brighter, 4, sets, {"a": difference, "b": difference}))
    assert found["set5-like: PSNR-Y over bicubic at t = 0, dB (1 photos)"].value == pytest.approx(0)
    assert found["bsd-like: PSNR-Y lost at t = 1, dB"].value > 0
    assert found["bsd-like: a at t = 1, as a share of t = 0's"].value > 1
    assert found["bsd-like: b at t = 1, as a share of t = 0's"].limit == 0.7
    assert found["flat colours at t = 0: largest deviation, levels of 255"].value == 0


def test_a_set_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no set native; make it with"):
        photo_figures(brighter, 4, tmp_path, {})


def test_a_worn_photo_is_always_the_same() -> None:
    hr = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    assert np.array_equal(worn(hr, 4, 1), worn(hr, 4, 1))
    assert not np.array_equal(worn(hr, 4, 1), worn(hr, 4, 2))
    assert worn(hr, 4, 1).shape == (8, 12, 3)


def test_figures_without_a_limit_are_neither_accepted_nor_missed() -> None:
    assert Figure("x", 1).accepted is None
    assert Figure("x", 1, 1).accepted
    assert Figure("x", 1, 1.1, at_most=False).accepted is False


def test_drawings_are_the_same_each_time_and_full_of_flat_colour(tmp_path: Path) -> None:
    make_drawings(tmp_path, 2, 64)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000.png", "0001.png"]
    first = draw(np.random.default_rng([3, 0]), 128)
    assert np.array_equal(first, draw(np.random.default_rng([3, 0]), 128))
    flat = (np.abs(np.diff(first.astype(int), axis=1)).max(2) == 0).mean()
    assert flat > 0.6


def test_plain_images_are_of_one_colour_or_of_many_and_often_saturated(tmp_path: Path) -> None:
    make_plain(tmp_path, 20, 16)
    images = [np.asarray(Image.open(path)) for path in sorted(tmp_path.iterdir())]
    assert [len(np.unique(image.reshape(-1, 3), axis=0)) for image in images[::2]] == [1] * 10
    squares = np.concatenate([image[::2, ::2].reshape(-1, 3) for image in images[1::2]])
    assert len(np.unique(squares, axis=0)) > 200
    assert 0.5 < np.isin(squares, (0, 255)).all(1).mean() < 0.7
    assert np.array_equal(images[1], images[1][::2, ::2].repeat(2, 0).repeat(2, 1))
