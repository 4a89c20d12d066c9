from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fxsr.cli import tmap as cli_tmap
from fxsr.cli.tmap_files import BitDepth, MapFinish
from fxsr.errors import StyleError, UsageError
from fxsr.images.image import read_image
from fxsr.styles import maps as tmap
from fxsr.styles.options import StyleOptions
from fxsr.styles.style_map import StyleMap, parse_pair
from fxsr.styles.texture import GRAIN_LIMIT, estimate_grain, texture
from tests.support import SAMPLE


def plane(values: Any) -> tmap.Plane:
    return np.array(values, np.float32)


def noise(height: int, width: int, deviation: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, deviation, (height, width, 1))


def print_page(ink: int) -> NDArray[np.float64]:
    """Lines of print, 160x320, black or grey on white."""
    image = Image.new("L", (320, 160), 255)
    lines = "\n".join(["The quick brown fox jumps over the lazy dog and runs"] * 8)
    ImageDraw.Draw(image).text((4, 4), lines, font=ImageFont.load_default(14), fill=ink)
    return np.asarray(image, float)[..., None]


def grass(seed: int = 0) -> NDArray[np.float64]:
    """Blades that mostly stand upright, 160x320."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (320, 160), 90)
    for _ in range(6000):
        x, y, length = rng.uniform(0, 320), rng.uniform(0, 160), rng.uniform(5, 14)
        lean = rng.normal(np.pi / 2, 0.35)
        tip = (x + length * np.cos(lean), y - length * np.sin(lean))
        ImageDraw.Draw(image).line((x, y, *tip), fill=int(rng.normal(100, 35)))
    return np.asarray(image, float)[..., None]


def mean_t(picture: NDArray[np.float64], **options: float) -> float:
    """Mean of the texture map of an 8-bit picture, its outermost pixels left out."""
    return float(texture(picture.clip(0, 255).astype(np.uint8), **options)[20:-20, 20:-20].mean())


def test_feather_of_one_pixel_is_three_small_boxes() -> None:
    # a box of 5/3 pixels is (1, 3, 1) / 5; three of them are the coefficients of (1 + 3x + x^2)^3 / 125
    step = plane([[0, 0, 0, 0, 1, 0, 0, 0, 0]])
    assert np.allclose(tmap.feather(step, 1) * 125, [[0, 1, 9, 30, 45, 30, 9, 1, 0]], atol=1e-4)


@pytest.mark.parametrize("radius", [0.5, 3, 7.4, 500])
def test_feather_keeps_the_mean(radius: float) -> None:
    values = np.random.default_rng(0).random((23, 40)).astype(np.float32)
    assert tmap.feather(values, radius).mean() == pytest.approx(values.mean(), abs=1e-6)


def test_feather_reaches_the_radius_and_no_further() -> None:
    blurred = tmap.feather(np.repeat(plane([[0, 1]]), 40, axis=1), 12)[0]
    assert np.array_equal(blurred[:28], np.zeros(28))
    assert np.array_equal(blurred[52:], np.ones(28))
    assert 0 < blurred[28] < 1e-2
    assert (np.diff(blurred[28:52]) > 0).all()


def test_feather_is_the_same_in_both_axes() -> None:
    values = np.random.default_rng(0).random((9, 14)).astype(np.float32)
    assert np.allclose(tmap.feather(values, 4).T, tmap.feather(values.T, 4), atol=1e-6)


def test_feather_far_wider_than_the_map_is_its_mean() -> None:
    assert np.allclose(tmap.feather(plane([[0, 0, 0, 1]]), 1e6), 0.25, atol=0.03)


@pytest.mark.parametrize("radius", [-1, float("nan"), float("inf")])
def test_feather_refuses_what_is_no_radius(radius: float) -> None:
    with pytest.raises(StyleError, match=r"feather is .*; it must be a number of pixels"):
        tmap.feather(plane([[0, 1]]), radius)


def test_ramp_maps_black_and_white_to_the_ends_and_may_turn_round() -> None:
    assert np.allclose(tmap.ramp(plane([[0, 0.5, 1]]), 0.2, 0.8), [[0.2, 0.5, 0.8]])
    assert np.allclose(tmap.ramp(plane([[0, 0.5, 1]]), 1, 0.5), [[1, 0.75, 0.5]])


def test_a_mask_is_made_hard_then_inverted_then_grown() -> None:
    mask = plane([[0.9, 0.9, 0.9, 0.9, 0.4, 0.9, 0.9, 0.9]])
    assert np.array_equal(tmap.from_mask(mask, threshold=0.5, invert=True, grow=2), [[0, 0, 1, 1, 1, 1, 1, 0]])
    assert np.array_equal(tmap.from_mask(mask, threshold=0.5, grow=-1), [[1, 1, 1, 0, 0, 0, 1, 1]])


def test_growing_takes_the_largest_of_the_square_around() -> None:
    values = np.random.default_rng(0).random((9, 11)).astype(np.float32)
    for radius in (0, 1, 2, 3, 5, 30):
        expected = [
            [values[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].max() for x in range(11)]
            for y in range(9)
        ]
        assert np.array_equal(tmap.spread(values, radius), plane(expected)), radius


def test_depth_goes_from_far_to_near_by_gamma() -> None:
    depth = np.array([[1000, 1500, 2000]], np.uint16).repeat(50, 1)  # a small part of 16 bit
    t = tmap.from_depth(depth, near=0.9, far=0.1, gamma=2)
    assert np.allclose(t[0, ::50], [0.1, 0.1 + 0.8 * 0.25, 0.9], atol=1e-6)
    t = tmap.from_depth(depth, near=0.9, far=0.1, gamma=2, white_is_far=True)
    assert np.allclose(t[0, ::50], [0.9, 0.1 + 0.8 * 0.25, 0.1], atol=1e-6)


def test_depth_of_8_and_16_bit_and_floats_gives_the_same_map() -> None:
    depth = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    expected = tmap.from_depth(depth)
    assert np.allclose(tmap.from_depth(depth.astype(np.uint16) * 257), expected, atol=1e-5)
    assert np.allclose(tmap.from_depth(depth.astype(np.float32) / 80 + 3), expected, atol=1e-5)


def test_a_few_wrong_depths_do_no_harm() -> None:
    depth = np.linspace(100, 200, 1000).reshape(20, 50)
    spoilt = depth.copy()
    spoilt[0, :4] = 60000
    assert np.abs(tmap.from_depth(spoilt) - tmap.from_depth(depth))[1:].max() < 0.02


def test_a_small_thing_before_a_plain_background_is_found() -> None:
    depth = np.zeros((40, 40), np.uint8)
    depth[5, 5] = 9
    assert tmap.from_depth(depth)[5, 5] == 1


def test_infinitely_far_counts_as_the_farthest_depth() -> None:
    depth = np.linspace(1, 9, 40, dtype=np.float32).reshape(4, 10)
    sky = depth.copy()
    sky[-1, -1] = np.inf
    depth[-1, -1] = depth[-1, -2]  # the largest finite one
    assert np.allclose(tmap.from_depth(sky), tmap.from_depth(depth))
    for wrong in (np.nan, -np.inf):
        sky[0, 0] = wrong
        with pytest.raises(StyleError, match="not numbers, or negative infinity"):
            tmap.from_depth(sky)
    with pytest.raises(StyleError, match="not numbers, or negative infinity"):
        tmap.from_depth(np.full((2, 2), np.inf))


@pytest.mark.parametrize("rows", [tmap.linear_gradient_rows(50, 31, 211), tmap.radial_gradient_rows(50, 31, (0.2, 1))])
def test_parts_of_a_gradient_are_those_of_the_whole(rows: tmap.PlaneRows) -> None:
    parts = [rows(slice(top, min(top + 7, 50))) for top in range(0, 50, 7)]
    assert np.array_equal(np.concatenate(parts), rows(slice(0, 50)))


def test_a_large_gradient_is_written_a_few_rows_at_a_time() -> None:
    made: list[int] = []
    gradient = tmap.linear_gradient_rows(100_000, 2000, 90)

    def make(rows: slice) -> tmap.Plane:
        made.append(rows.stop - rows.start)
        return gradient(rows)

    image = MapFinish(StyleOptions(range=(0.25, 1)), BitDepth.sixteen).stream(100_000, 2000, make)
    first = next(image.bands)
    assert (image.height, image.width, image.channels, first.dtype.name) == (100_000, 2000, 1, "uint16")
    assert first[0, 0, 0] == 16384
    assert made == [len(first)]
    assert first.size < 2**20


def test_depth_that_tells_nothing_is_refused() -> None:
    with pytest.raises(StyleError, match="the depth is 7 everywhere"):
        tmap.from_depth(np.full((4, 4), 7, np.uint8))


@pytest.mark.parametrize(
    ("angle", "first", "last"),
    [(0, (0, 0), (0, 4)), (90, (0, 0), (2, 0)), (180, (0, 4), (0, 0)), (-90, (2, 0), (0, 0)), (45, (0, 0), (2, 4))],
)
def test_a_linear_gradient_rises_in_its_direction(angle: float, first: tuple[int, int], last: tuple[int, int]) -> None:
    t = tmap.linear_gradient(3, 5, angle)
    assert (t[first], t[last]) == (0, 1)


def test_a_span_is_the_part_of_the_way_in_which_t_changes() -> None:
    assert np.allclose(tmap.linear_gradient(1, 5), [[0, 0.25, 0.5, 0.75, 1]])
    assert np.allclose(tmap.linear_gradient(1, 5, span=(0.25, 0.75)), [[0, 0, 0.5, 1, 1]])
    with pytest.raises(StyleError, match=r"span is 0\.5,0\.5; it must be"):
        tmap.linear_gradient(1, 5, span=(0.5, 0.5))


def test_a_radial_gradient_is_round_and_ends_in_the_farthest_corner() -> None:
    t = tmap.radial_gradient(7, 9, centre=(0.5, 0.5))
    assert t[3, 4] == 0
    assert np.allclose(t[[3, 3], [7, 1]], 3 / 5)  # 3 pixels of the 5 to the corner (4, 3)
    assert np.allclose(t[[0, 6], [4, 4]], 3 / 5)
    assert np.allclose(tmap.radial_gradient(4, 5, centre=(0, 0))[3, 4], 1)


def test_a_gradient_of_one_pixel_is_its_beginning() -> None:
    assert tmap.linear_gradient(1, 1) == tmap.radial_gradient(1, 1) == 0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("max", [0.5, 0.8]),
        ("min", [0.2, 0.4]),
        ("mean", [0.35, 0.6]),
        ("multiply", [0.1, 0.32]),
        ("screen", [0.6, 0.88]),
        ("add", [0.7, 1]),
        ("subtract", [0.3, 0]),
    ],
)
def test_combining(how: tmap.How, expected: list[float]) -> None:
    assert np.allclose(tmap.combine([plane([[0.5, 0.4]]), plane([[0.2, 0.8]])], how), [expected])


def test_maps_of_different_sizes_are_not_combined() -> None:
    with pytest.raises(StyleError, match=re.escape("shapes [(1, 2), (2, 2)]")):
        tmap.combine([np.zeros((2, 2), np.float32), np.zeros((1, 2), np.float32)], "max")


def test_the_command_line_knows_every_way_to_combine() -> None:
    assert list(cli_tmap.CombineMode) == list(get_args(tmap.How))


@pytest.mark.parametrize("picture", [grass(), 128 + noise(160, 320, 25)], ids=["grass", "noise"])
def test_texture_is_high(picture: NDArray[np.float64]) -> None:
    assert mean_t(picture) > 0.8


STEP = np.where(np.arange(320) < 160, 60.0, 190.0)[None, :, None].repeat(160, 0)
STRIPES = 128 + 60 * np.sign(np.sin(np.arange(320) * 0.7))[None, :, None].repeat(160, 0)
SLOPE = np.linspace(40, 220, 320)[None, :, None].repeat(160, 0)


@pytest.mark.parametrize(
    "picture",
    [STEP, STRIPES, SLOPE, print_page(0), print_page(120), print_page(190), np.full((160, 320, 1), 128.0)],
    ids=["edge", "stripes", "slope", "print", "grey print", "pale print", "flat"],
)
@pytest.mark.parametrize("deviation", [0, 4])
def test_edges_text_and_flat_areas_are_low_with_and_without_grain(
    picture: NDArray[np.float64], deviation: float
) -> None:
    assert mean_t(picture + noise(160, 320, deviation)) < 0.15


def test_texture_is_found_beside_what_is_flat() -> None:
    picture = np.concatenate([grass(), np.full((160, 320, 1), 128.0) + noise(160, 320, 3)], 1)
    t = texture(picture.clip(0, 255).astype(np.uint8))
    assert t[:, 20:280].mean() > 0.8
    assert t[:, 360:].max() < 0.05


def test_grain_that_is_named_is_no_texture() -> None:
    picture = 128 + noise(160, 320, 25)
    assert mean_t(picture) > 0.8
    assert mean_t(picture, grain=25 / 255) < 0.05


def test_grain_is_estimated_from_the_calmest_part() -> None:
    calm = noise(160, 160, 0.02)
    picture = np.concatenate([0.5 + calm, 0.5 + noise(160, 320, 0.15)], 1)[..., 0].astype(np.float32)
    assert estimate_grain(picture) == pytest.approx(0.02, rel=0.15)
    assert estimate_grain((0.5 + noise(99, 99, 0.15))[..., 0].astype(np.float32)) == GRAIN_LIMIT


def test_a_texture_map_is_the_same_for_8_and_16_bit_and_floats() -> None:
    pixels = read_image(SAMPLE).pixels[90:190, 60:180]
    expected = texture(pixels)
    assert np.allclose(texture(pixels.astype(np.uint16) * 257), expected, atol=1e-3)
    assert np.allclose(texture(pixels.astype(np.float32) / 255), expected, atol=1e-3)
    assert np.ptp(expected) > 0.5


def test_of_the_sample_the_fur_is_high_and_the_eye_and_the_background_are_low() -> None:
    t = texture(read_image(SAMPLE).pixels)
    assert t[165:200, 150:230].mean() > 0.9  # below the eye
    assert t[95:140, 140:200].mean() < 0.4  # eye
    assert t[100:250, 390:].mean() < 0.1  # blurred background


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 1), (2, 2, 4), (40, 3, 2)])
def test_images_of_any_size_and_channels_have_a_texture_map(shape: tuple[int, int, int]) -> None:
    t = texture(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    assert t.shape == shape[:2]
    assert 0 <= t.min() <= t.max() <= 1


def test_a_style_map_feathers_and_ranges_and_stays_what_it_was() -> None:
    style = StyleMap.from_array(np.array([[0, 0, 0, 1.0, 1, 1]]))
    softer = style.feathered(2).ranged(0.2, 0.6)
    assert np.allclose(softer.values, tmap.feather(style.values, 2) * 0.4 + 0.2, atol=1e-6)
    assert np.array_equal(style.values, [[0, 0, 0, 1, 1, 1]])


def test_a_uniform_style_stays_uniform() -> None:
    style = StyleMap.uniform(0.5).feathered(30).ranged(0.2, 0.6)
    assert style.is_uniform
    assert style.values == pytest.approx(0.4)


@pytest.mark.parametrize("ends", [(0, 1.5), (-1, 1), (float("nan"), 1)])
def test_a_range_out_of_0_to_1_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(StyleError, match="it must be a number from 0"):
        StyleMap.uniform(0.5).ranged(*ends)


def test_a_pair_is_two_numbers_in_0_to_1() -> None:
    assert parse_pair("0.2,0.9", "--range") == (0.2, 0.9)
    for text in ("0.2", "0.2,0.5,0.9", "a,b", "0,1.2", "nan,1", ""):
        with pytest.raises(UsageError, match=f"--range is {text!r}; it must be two numbers in 0..1"):
            parse_pair(text, "--range")
