"""Training on an NVIDIA GPU, in every precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fxsr.models.checkpoint import load_checkpoint
from fxsr.training.loop import train
from fxsr.training.opening import open_accelerator
from tests.support import SilentMonitor, tiny_recipe, write_photos


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_both_stages_train_and_go_on(precision: str, tmp_path: Path, gpu_torch: Any) -> None:
    write_photos(tmp_path / "photos", 3, (60, 72))
    recipe = tiny_recipe(tmp_path / "photos", f"precision={precision}")
    logged: list[tuple[str, int]] = []

    class Watcher(SilentMonitor):
        def step(self, stage: str, step: int, losses: Mapping[str, float], rate: float, speed: Any) -> None:
            logged.append((stage, step))

    def asked_in_the_second_stage() -> bool:
        return logged[-1] == ("conditional", 2)

    first = train(recipe, tmp_path / "run", Watcher(), should_stop=asked_in_the_second_stage)
    second = train(recipe, tmp_path / "run", Watcher(), resume=True)
    assert (first.finished, first.stage, first.step) == (False, "conditional", 2)
    assert second.finished
    assert logged == [(stage, step) for stage in ("psnr", "conditional") for step in (1, 2, 3, 4)]
    assert all(value > 0 for step in first.losses for label, value in step.items() if label != "adversarial")
    assert load_checkpoint(second.weights).config == recipe.network.config()


def test_no_step_waits_for_the_gpu(tmp_path: Path, gpu_torch: Any) -> None:
    from fxsr.models.network import Generator
    from fxsr.training.crops import Sources
    from fxsr.training.data import batches
    from fxsr.training.initial import initialise
    from fxsr.training.samples import open_samples
    from fxsr.training.trainer import Trainer

    write_photos(tmp_path / "photos", 3, (60, 72))
    between = 'conditional.between="own"'
    recipe = tiny_recipe(tmp_path / "photos", 'data.inputs=[{name="reduced"}]', "conditional.steps=8", between)
    cache = open_samples(tmp_path / "cache", recipe.data, 4, 0)
    accelerator = open_accelerator(recipe, "auto")
    trainer = Trainer(recipe, "conditional", initialise(Generator(recipe.network.config())), accelerator)
    drawn = batches(recipe, "conditional", Sources(cache), 0, accelerator.device)
    for _ in range(3):  # libraries choose their algorithms, and wait while they do
        trainer.step(next(drawn))
    gpu_torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in drawn:
            trainer.step(batch)
    finally:
        gpu_torch.cuda.set_sync_debug_mode("default")
    trainer.check()
