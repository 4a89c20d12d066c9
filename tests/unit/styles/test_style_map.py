from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import StyleError
from fxsr.images.image import Picture, write_image
from fxsr.styles.style_map import StyleMap, as_style


def save(path: Path, pixels: NDArray[Any]) -> Path:
    write_image(path, Picture(pixels.reshape(*pixels.shape[:2], -1)))
    return path


def test_8_and_16_bit_grey_and_rgb_white_read_as_one(tmp_path: Path) -> None:
    masks: dict[str, NDArray[Any]] = {
        "grey8": np.full((4, 5), 255, np.uint8),
        "grey16": np.full((4, 5), 65535, np.uint16),
        "rgb8": np.full((4, 5, 3), 255, np.uint8),
        "rgb16": np.full((4, 5, 3), 65535, np.uint16),
        "rgba8": np.full((4, 5, 4), 255, np.uint8),
    }
    for name, pixels in masks.items():
        style = StyleMap.read(save(tmp_path / f"{name}.png", pixels))
        assert style.values.shape == (4, 5)
        assert np.allclose(style.values, 1, atol=1e-6), name
        assert style.values.max() <= 1


def test_16_bit_masks_keep_their_depth(tmp_path: Path) -> None:
    style = StyleMap.read(save(tmp_path / "m.png", np.array([[0, 1], [300, 65535]], np.uint16)))
    assert np.allclose(style.values * 65535, [[0, 1], [300, 65535]], atol=1e-2)


def test_colour_reads_as_luminance(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 3), np.uint8)
    pixels[0, [0, 1, 2], [0, 1, 2]] = 255
    style = StyleMap.read(save(tmp_path / "m.png", pixels))
    assert np.allclose(style.values, [[0.299, 0.587, 0.114]], atol=1e-6)


@pytest.mark.parametrize("t", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None])
def test_uniform_refuses_what_is_not_in_0_to_1(t: Any) -> None:
    with pytest.raises(StyleError, match="it must be a number from 0"):
        StyleMap.uniform(t)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0.5, 1.2]]), "reach from 0.5 to 1.2"),
        (np.array([[0.5, np.nan]]), "must lie in 0..1"),
        (np.ones((2, 2, 3)), "is an .H, W. array"),
        (np.ones((0, 4)), "is an .H, W. array"),
        (np.ones((2, 2), np.int64), "this one is int64"),
    ],
)
def test_arrays_that_are_no_style_map_are_refused(values: NDArray[Any], message: str) -> None:
    with pytest.raises(StyleError, match=message):
        StyleMap.from_array(values)


def test_a_tensor_is_refused_as_values() -> None:
    with pytest.raises(StyleError, match=r"is an .H, W. array, this one has the shape .1, 1, 4, 5."):
        StyleMap(np.zeros((1, 1, 4, 5), np.float32))


def test_a_file_out_of_range_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "hot.tif", np.full((3, 3), 1.5, np.float32))
    with pytest.raises(StyleError, match=r"hot\.tif: style values must lie in 0..1"):
        StyleMap.read(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(StyleError, match=r"style map .*bad\.png: not an image"):
        StyleMap.read(tmp_path / "bad.png")


@pytest.mark.parametrize("size", [(3, 3), (7, 5), (50, 40), (1, 1), (13, 1)])
def test_resizing_gives_the_size_and_stays_in_range(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    values[0, 0], values[1, 1] = 0, 1
    resized = StyleMap.from_array(values).resized(*size).values
    assert resized.shape == size
    assert resized.min() >= 0
    assert resized.max() <= 1
    if size == (7, 5):
        assert np.array_equal(resized, values)


def test_resizing_keeps_a_gradient_a_gradient() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(4, 0)
    large = StyleMap.from_array(ramp).resized(8, 256).values
    expected = np.interp((np.arange(256) + 0.5) / 4 - 0.5, np.arange(64), ramp[0])
    assert np.abs(large - expected).max() < 0.02


def test_uniform_stays_1x1_whatever_the_size() -> None:
    style = StyleMap.uniform(0.3).resized(100, 200)
    assert style.window(slice(10, 20), slice(30, 40)).shape == (1, 1, 1, 1)


def test_a_window_of_a_map_is_that_part_of_it() -> None:
    values = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    window = StyleMap.from_array(values).window(slice(1, 4), slice(2, 8))
    assert np.array_equal(window, values[None, None, 1:4, 2:8])


def test_a_factor_multiplies() -> None:
    style = StyleMap.from_array(np.array([[0, 1.0]])).scaled(0.25)
    assert np.allclose(style.values, [[0, 0.25]])


@pytest.mark.parametrize("t", [0.5, np.float32(0.5), np.array(0.5), np.full((1, 1), 0.5), StyleMap.uniform(0.5)])
def test_anything_that_means_half_is_half(t: Any) -> None:
    assert as_style(t).values == pytest.approx(0.5)
