from __future__ import annotations

from pathlib import Path

import torch

from fxsr.training.recipe import Recipe, Stage, Term
from fxsr.training.state import RunFolder

RECIPE = Recipe(name="a", description="", psnr=Stage(steps=2, terms=(Term(kind="l1", weight=1),)))


def test_states_of_earlier_versions_with_other_names_of_parts_are_read(tmp_path: Path) -> None:
    names = ("generator", "average", "optimiser", "judge", "judge_optimiser")
    content = {
        "recipe": RECIPE.to_json(),
        "stage": "psnr",
        "step": 1,
        "best": None,
        "parts": {name: {"value": number} for number, name in enumerate(names)},
    }
    (tmp_path / "states").mkdir()
    torch.save(content, tmp_path / "states" / "psnr-0000001.pt")
    state = RunFolder(tmp_path, RECIPE).latest(lambda _: None)
    assert state is not None
    assert state.parts["discriminator"] == {"value": 3}
    assert state.parts["discriminator_optimiser"] == {"value": 4}
    assert state.parts.keys() == {"generator", "average", "optimiser", "discriminator", "discriminator_optimiser"}
