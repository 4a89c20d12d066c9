"""Which layers half precision is not enough for."""

from __future__ import annotations

import pytest

from fxsr.export.verify.precision import fewest

NAMES = [f"layer{number}" for number in range(11)]


@pytest.mark.parametrize(
    "needed", [[], ["layer0"], ["layer10"], ["layer3", "layer4"], ["layer0", "layer5", "layer9"], NAMES]
)
def test_the_fewest_layers_are_found(needed: list[str]) -> None:
    asked: list[tuple[str, ...]] = []

    def enough(names: tuple[str, ...]) -> bool:
        asked.append(names)
        return set(needed) <= set(names)

    assert list(fewest(NAMES, enough)) == needed
    assert len(asked) < 50


def test_either_of_two_is_enough() -> None:
    assert len(fewest(NAMES, lambda names: "layer2" in names or "layer8" in names)) == 1
