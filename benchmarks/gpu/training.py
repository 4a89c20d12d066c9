"""Group 6 of the hardware report: the time of a training step of each recipe, and how much of it is waiting for data.

Feature extractors get random weights: a step takes as long with them, and nothing has to be downloaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.benchmarks.gpu.models import reflected
from fxsr.benchmarks.gpu.steps import Journal
from fxsr.errors import FxsrError, UnavailableError
from fxsr.extras import needs
from fxsr.images.image import Picture, write_image
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.training.cache import open_cache
from fxsr.training.crops import Sources
from fxsr.training.data import Batch, batches
from fxsr.training.recipe import Recipe
from fxsr.training.recipes import load_recipe
from fxsr.training.vgg_layers import BLOCKS, CHANNELS, Kind

_PHOTOS, _SIDE = 8, 512
_FOREVER = 1_000_000
"""Steps of the timed stage, so that no schedule ends."""


def time_recipe(
    journal: Journal, recipe: str, device: str, seconds: float, workers: int, compiled: bool, overrides: list[str]
) -> None:
    """Time steps of both stages of a recipe, with every loss term and the discriminator in use.

    "waiting" is the share of a step's time that goes away if the same batch, already on the device, is used again and
    again.

    Args:
        journal: of the step.
        recipe: a bundled recipe's name.
        device: "cuda" or "cpu".
        seconds: duration of each of the two timings of a stage.
        workers: most processes that load data; no more than there are CPUs.
        compiled: also time the generator in torch.compile.
        overrides: further keys of the recipe, as for `fxsr train --set`.

    Raises:
        MissingExtraError: a package for training is not installed.
        UnavailableError: torch can't use the device.
    """
    common = [f"data.hr={_photos(journal.work)}", f"data.workers={min(workers, available_cpus())}", *overrides]
    stages = list(load_recipe(recipe, common).stages)
    for stage in stages:
        for form in ("eager", "compiled") if compiled else ("eager",):
            chosen = load_recipe(recipe, [*common, *_changes(recipe, stage, journal.work, form == "compiled")])
            name = f"{stage}, {form}, {chosen.precision}"
            try:
                real, fixed, first = _time_stage(chosen, stage, device, seconds, journal.work)
            except (RuntimeError, FxsrError) as error:
                if form == "eager":
                    raise
                journal.add(name, note=f"did not run: {str(error).splitlines()[0][:200]}")  # such as: no C++ compiler
                continue
            waiting = max(0.0, 1 - fixed / real) * 100
            values = {"ms/step": real * 1e3, "ms/step, same batch": fixed * 1e3, "waiting %": waiting}
            journal.add_row(name, {**values, "first step s": first, "batch": chosen.stages[stage].batch})


def _changes(name: str, stage: str, work: Path, compiled: bool) -> list[str]:
    """What is changed in a recipe: it runs `stage` alone, all terms count from the first step, weights are local."""
    recipe = load_recipe(name, [])
    other = {"psnr": "conditional", "conditional": "psnr"}[stage]
    found = [f"{stage}.steps={_FOREVER}", f"compile={'true' if compiled else 'false'}"]
    if other in recipe.stages:
        found.append(f"{other}.steps=0")
    plan = recipe.stages[stage]
    for number, term in enumerate(plan.terms):
        if term.extractor:
            found.append(f"{stage}.terms.{number}.weights={_random_features(term.extractor, work)}")
        if term.kind == "adversarial":
            found += [f"{stage}.terms.{number}.start=0", f"{stage}.discriminator.start=0"]
    return found


def _time_stage(recipe: Recipe, stage: str, device: str, seconds: float, work: Path) -> tuple[float, float, float]:
    """Seconds per step with batches from the data, and with one batch again and again; and seconds of the first."""
    with needs("train"):
        import torch
    from fxsr.models.network import Generator
    from fxsr.training.initial import initialise
    from fxsr.training.opening import open_accelerator
    from fxsr.training.trainer import Trainer

    if device != "cpu" and not torch.cuda.is_available():
        raise UnavailableError("torch finds no GPU")
    accelerator = open_accelerator(recipe, "cpu" if device == "cpu" else "auto")
    data = recipe.data
    cache = open_cache(
        work / "cache", data.hr_folders, data.lr_folders, recipe.network.scale, data.patch, lambda line: None
    )
    trainer = Trainer(recipe, stage, initialise(Generator(recipe.network.config())), accelerator)
    stream = batches(recipe, stage, Sources(cache), 0, accelerator.device)

    def wait() -> None:
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()

    begin = time.perf_counter()
    batch = next(stream)
    trainer.step(batch)
    wait()
    first = time.perf_counter() - begin
    real = _time_steps(trainer, stream, seconds, wait)
    fixed = _time_steps(trainer, repeat(batch), seconds, wait)
    return real, fixed, first


def _time_steps(trainer: Any, stream: Iterator[Batch], seconds: float, wait: Any) -> float:
    """Seconds per step: after a third of the time for warming up, the steps of the rest."""
    for share in (1 / 3, 2 / 3):
        wait()
        begin, steps = time.perf_counter(), 0
        while steps == 0 or time.perf_counter() - begin < seconds * share:
            trainer.step(next(stream))
            steps += 1
        wait()
    return (time.perf_counter() - begin) / steps


def _photos(work: Path) -> Path:
    """A folder of photos to train on."""
    folder = work / "photos"
    if not folder.is_dir():
        pixels = reflected(_SIDE + _PHOTOS, _SIDE)
        temporary = work / "photos.part"
        temporary.mkdir(exist_ok=True)
        for number in range(_PHOTOS):
            crop = np.ascontiguousarray(pixels[number : number + _SIDE])
            write_image(temporary / f"{number}.png", Picture(crop))
        temporary.rename(folder)
    return folder


def _random_features(kind: Kind, work: Path) -> Path:
    """A file with random weights of a VGG in torchvision's layout."""
    from safetensors.numpy import save_file

    path = work / f"{kind}.safetensors"
    if path.is_file():
        return path
    rng, weights, number, inputs = np.random.default_rng(0), {}, 0, 3
    for convolutions, outputs in zip(BLOCKS[kind], CHANNELS, strict=True):
        for _ in range(convolutions):
            scale = (2 / (9 * inputs)) ** 0.5  # He et al. 2015: activations stay of the same size
            weights[f"features.{number}.weight"] = rng.standard_normal(
                (outputs, inputs, 3, 3), np.float32
            ) * np.float32(scale)
            weights[f"features.{number}.bias"] = np.zeros(outputs, np.float32)
            number, inputs = number + 2, outputs
        number += 1  # the pooling
    save_file(weights, path)
    return path
