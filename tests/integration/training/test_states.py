"""Saved states that are odd or of earlier versions, caches that are damaged, and two trainings in one folder."""

from __future__ import annotations

import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fxsr.errors import CheckpointError, OutOfMemoryError, UsageError
from fxsr.models.checkpoint import load_checkpoint
from fxsr.training.loop import Outcome, train
from fxsr.training.memory import least_memory
from fxsr.training.recipes import recipe_from_json
from fxsr.training.resume import read_recipe, read_state
from fxsr.training.state import RunFolder
from tests.support import GOLDEN, PATIENCE, SilentMonitor, ended, fxsr_process, tiny_recipe, wait_until
from tests.training import run, weights

Content = dict[str, Any]


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its second stage, with a state after every step."""
    folder = tmp_path_factory.mktemp("trained")
    run(photos, folder, "save_every=1", stop_after=5)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def resume(photos: Path, folder: Path) -> list[str]:
    """Continue a run; returns what it said."""
    watcher = SilentMonitor()
    assert train(tiny_recipe(photos, "save_every=1"), folder, watcher, True, device="cpu").finished
    return watcher.said


def same_weights(folder: Path, straight: Outcome) -> bool:
    found, wanted = load_checkpoint(folder / "tiny.safetensors").weights, weights(straight)
    return found.keys() == wanted.keys() and all(np.array_equal(found[key], wanted[key]) for key in wanted)


def change(path: Path, edit: Callable[[Content], object]) -> None:
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


ODD: dict[str, Callable[[Content], object]] = {
    "stage": lambda content: content.update(stage="nope"),
    "a stage that is no text": lambda content: content.update(stage=[]),
    "step": lambda content: content.update(step="x"),
    "negative step": lambda content: content.update(step=-5),
    "true step": lambda content: content.update(step=True),
    "step of another state": lambda content: content.update(step=1),
    "best": lambda content: content.update(best=float("nan")),
    "recipe": lambda content: content.update(recipe="[" * 100_000),
    "no recipe": lambda content: content.pop("recipe"),
    "parts": lambda content: content.update(parts=[]),
    "no generator": lambda content: content["parts"].update(generator={}),
    "numbers for tensors": lambda content: content["parts"].update(generator=dict.fromkeys(_names(content), 1.0)),
    "shape": lambda content: content["parts"]["generator"].update({"conv_first.weight": zeros(3)}),
    "type": lambda content: content["parts"]["generator"].update({"conv_first.bias": zeros(8).to(torch.complex64)}),
    "infinite": lambda content: content["parts"]["average"]["module.conv_first.bias"].fill_(float("inf")),
    "no optimiser": lambda content: content["parts"].update(optimiser={}),
    "optimiser of another network": lambda content: content["parts"]["optimiser"]["state"].update({9999: {}}),
    "averages of another shape": lambda content: content["parts"]["optimiser"]["state"][0].update(exp_avg=zeros(1)),
    "averages that lack": lambda content: content["parts"]["optimiser"]["state"][0].pop("exp_avg_sq"),
    "discriminator": lambda content: content["parts"].pop("discriminator"),
    "discriminator's optimiser": lambda content: content["parts"]["discriminator_optimiser"].update(state=[]),
}


def _names(content: Content) -> list[str]:
    return list(content["parts"]["generator"])


@pytest.mark.parametrize("edit", ODD.values(), ids=ODD)
def test_an_odd_state_is_named_and_passed_over(edit: Callable[[Content], object], folder: Path) -> None:
    states = RunFolder.states_in(folder)
    change(states[-1], edit)
    with pytest.raises(CheckpointError, match=f"{states[-1].name}: not a readable training state") as caught:
        read_state(states[-1])
    assert len(str(caught.value).splitlines()) == 1
    said: list[str] = []
    found = RunFolder(folder, read_recipe(states[-2])).latest(said.append)
    assert found is not None
    assert f"{found.stage}-{found.step:07d}" == states[-2].stem
    assert said == [str(caught.value)]


def test_a_run_continues_from_the_state_before_an_odd_one(photos: Path, folder: Path, tmp_path: Path) -> None:
    newest = RunFolder.states_in(folder)[-1]
    change(newest, lambda content: content["parts"].update(optimiser={}))
    assert f"{newest.name}: not a readable training state" in resume(photos, folder)[0]
    assert same_weights(folder, run(photos, tmp_path / "straight"))


@pytest.mark.parametrize("module", ["os", "torch.nn"])
def test_a_state_that_holds_code_is_refused_and_not_run(module: str, folder: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (folder / "ran",)

    path = RunFolder.states_in(folder)[-1]
    path.write_bytes(pickle.dumps({"recipe": Code(), "module": module}, 2))
    with pytest.raises(CheckpointError, match="not a readable training state"):
        read_state(path)
    assert not (folder / "ran").exists()


def test_settings_of_optimisers_are_those_of_the_recipe(photos: Path, folder: Path, tmp_path: Path) -> None:
    path = RunFolder.states_in(folder)[-1]
    change(path, lambda content: content["parts"]["optimiser"]["param_groups"][0].update(betas="x", amsgrad=True))
    assert resume(photos, folder) == []
    assert same_weights(folder, run(photos, tmp_path / "straight"))


def test_states_of_earlier_versions_with_other_names_of_parts_are_read(folder: Path) -> None:
    def rename(content: Content) -> None:
        del content["measured"]
        parts = content["parts"]
        parts["judge"] = parts.pop("discriminator")
        parts["judge_optimiser"] = parts.pop("discriminator_optimiser")

    path = RunFolder.states_in(folder)[-1]
    before = read_state(path)
    change(path, rename)
    state = read_state(path)
    assert state.measured
    assert state.parts.keys() == before.parts.keys()
    assert all(state.parts["discriminator"][key].equal(value) for key, value in before.parts["discriminator"].items())


CACHES: dict[str, tuple[str, bytes | None]] = {
    "pixels empty": ("bin", b""),
    "pixels cut": ("bin", None),
    "index empty": ("json", b""),
    "index of nothing": ("json", b"[]"),
    "index nested": ("json", b"[" * 100_000),
    "index of other places": ("json", b'[{"name": "a", "height": 64, "width": 64, "hr": 5}]'),
    "index of text": ("json", b'[{"name": "a", "height": "64", "width": 64, "hr": 0}]'),
    "index of bytes": ("json", b"\xff\xfe\x00"),
}


@pytest.mark.parametrize(("suffix", "data"), CACHES.values(), ids=CACHES)
def test_a_damaged_cache_is_made_again_with_a_note(suffix: str, data: bytes | None, photos: Path, folder: Path) -> None:
    whole = {path: path.read_bytes() for path in (folder / "cache").iterdir()}
    path = next(path for path in whole if path.suffix == f".{suffix}")
    path.write_bytes(whole[path][:1000] if data is None else data)
    said = resume(photos, folder)
    assert len(said) == 1
    assert "this cache is damaged" in said[0]
    assert {path: path.read_bytes() for path in (folder / "cache").iterdir()} == whole


def test_a_second_training_in_a_folder_is_refused(photos: Path, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with RunFolder(folder, tiny_recipe(photos)).lock():
        for again in (True, False):
            with pytest.raises(UsageError, match="another training is writing to"):
                run(photos, folder, "save_every=1", resume=again)
    assert sorted(folder.rglob("*")) == before
    assert resume(photos, folder) == []


def test_a_killed_training_gives_the_folder_back_and_its_half_files_go(photos: Path, tmp_path: Path) -> None:
    arguments = ["train", str(GOLDEN / "tiny.toml"), "--device", "cpu", "--out", str(tmp_path)]
    overrides = ["--set", f"data.hr={photos}", "--set", "psnr.steps=100000", "--set", "save_every=1"]
    with ended(fxsr_process(*arguments, *overrides)) as process:
        wait_until(lambda: len(RunFolder.states_in(tmp_path)) > 2)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    (tmp_path / "states" / ".fxsr-0123456789ab.part.pt").touch()
    (tmp_path / ".fxsr-0123456789ab.part.safetensors").touch()
    recipe = tiny_recipe(photos, "psnr.steps=100000", "save_every=1")
    train(recipe, tmp_path, SilentMonitor(), True, lambda: True, "cpu")
    assert not list(tmp_path.rglob(".fxsr-*"))


class _Measuring(SilentMonitor):
    """A monitor that measures two pictures, and asks to stop after the first if it is told to."""

    def __init__(self, *, stop: bool) -> None:
        super().__init__()
        self.stop = stop
        self.stopping = False
        self.measured: list[tuple[str, int]] = []

    def measure(self, stage: str, step: int, generator: Any, advance: Callable[[], None]) -> float | None:
        advance()
        self.stopping = self.stop
        advance()
        self.measured.append((stage, step))
        return -float(step)


@pytest.mark.parametrize("every", [2, 4])
def test_a_stop_in_a_measurement_saves_at_once_and_the_measurement_is_made_on_resuming(
    every: int, photos: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(photos, "save_every=100", f"validation.hr={photos}", f"validation.every={every}")
    straight = _Measuring(stop=False)
    train(recipe, tmp_path / "straight", straight, device="cpu")
    first = _Measuring(stop=True)
    outcome = train(recipe, tmp_path / "parts", first, False, lambda: first.stopping, "cpu")
    assert (outcome.finished, outcome.stage, outcome.step, first.measured) == (False, "psnr", every, [])
    assert not read_state(RunFolder.states_in(tmp_path / "parts")[-1]).measured
    second = _Measuring(stop=False)
    done = train(recipe, tmp_path / "parts", second, True, device="cpu")
    assert second.measured == straight.measured
    found, wanted = (
        load_checkpoint(tmp_path / path / "tiny-best.safetensors").weights for path in ("parts", "straight")
    )
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[key], wanted[key]) for key in wanted)
    assert weights(done).keys()


class _Failing(SilentMonitor):
    """A monitor whose measurements fail."""

    def measure(self, stage: str, step: int, generator: Any, advance: Callable[[], None]) -> float | None:
        raise OSError(28, "No space left on device")


def test_an_error_in_a_measurement_loses_no_step(photos: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(photos, f"validation.hr={photos}", "validation.every=3", "save_every=100")
    with pytest.raises(OSError, match="No space left"):
        train(recipe, tmp_path / "parts", _Failing(), device="cpu")
    (path,) = RunFolder.states_in(tmp_path / "parts")
    assert path.stem == "psnr-0000003"
    assert not read_state(path).measured
    second = _Measuring(stop=False)
    assert train(recipe, tmp_path / "parts", second, True, device="cpu").finished
    assert second.measured == [("psnr", 3), ("psnr", 4), ("conditional", 3), ("conditional", 4)]
    assert read_state(RunFolder.states_in(tmp_path / "parts")[-1]).measured


def test_memory_is_estimated_before_it_is_taken(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutOfMemoryError, match=r"training needs at least [\d,.]+ GiB, and [\d,.]+ GiB are free; give"):
        run(photos, tmp_path / "run", "psnr.batch=65536", "network.nf=1024", "network.nb=100")
    assert not list(tmp_path.iterdir())
    small = tiny_recipe(photos)
    assert least_memory(small, small.stages["psnr"]) < 2**22
    assert recipe_from_json(small.to_json()) == small
