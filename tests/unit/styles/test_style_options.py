from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fxsr.errors import StyleError, UsageError
from fxsr.styles.maps import feather
from fxsr.styles.options import StyleOptions, check_style_is_free
from fxsr.styles.style_map import DEFAULT_T, StyleMap

RAMP = StyleMap.from_array(np.array([[0, 0.5, 1.0]]))
HALVES = StyleMap.from_array(np.repeat([[0.0, 1.0]], 20, 1))


def whole(options: StyleOptions, t_map: StyleMap | None, height: int, width: int) -> list[list[float]]:
    values: list[list[float]] = options.over(t_map, height, width).rows(slice(0, height)).tolist()
    return values


def test_without_a_map_t_is_the_style_and_has_a_default() -> None:
    assert whole(StyleOptions(0.25, range=(1, 0), feather=3), None, 4, 5) == [[0.25]]
    assert whole(StyleOptions(), None, 4, 5) == [[pytest.approx(DEFAULT_T)]]


def test_with_a_map_t_is_a_factor_that_comes_before_the_range() -> None:
    assert whole(StyleOptions(), RAMP, 1, 3) == [[0, 0.5, 1]]
    assert whole(StyleOptions(0.5), RAMP, 1, 3) == [[0, 0.25, 0.5]]
    assert whole(StyleOptions(0.5, range=(1, 0)), RAMP, 1, 3) == [[1, 0.75, 0.5]]


def test_without_a_change_the_map_is_not_copied() -> None:
    assert np.shares_memory(StyleOptions().over(RAMP, 1, 3).rows(slice(0, 1)), RAMP.values)


def test_feather_is_in_pixels_of_the_image() -> None:
    rows = whole(StyleOptions(feather=4), HALVES, 1, 80)
    assert np.allclose(rows, feather(HALVES.resized(1, 80).values, 4), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"t": 1.5}, "t is 1.5; it must be a number from 0"),
        ({"range": (0, 2)}, "t is 2; it must be a number from 0"),
        ({"feather": -1}, "feather is -1; it must be a number of pixels, 0 or more"),
        ({"feather": float("nan")}, "feather is nan; it must be a number of pixels"),
    ],
)
def test_values_outside_their_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(StyleError, match=message):
        StyleOptions(**values)


def test_a_fixed_style_is_refused_only_where_another_is_chosen() -> None:
    check_style_is_free("m", None, 0.5, RAMP, True)
    check_style_is_free("m", 0.5, None, False)
    for choice in (0.0, 0.5, RAMP, True, "map.png"):
        with pytest.raises(UsageError, match=r"^m was exported with t fixed at 0\.5; leave out what chooses a style"):
            check_style_is_free("m", 0.5, None, choice)
