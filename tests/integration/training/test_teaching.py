"""Training runs with teachers, time limits, beginnings from other networks, and resumed ones with changed recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fxsr.errors import FxsrError, UsageError
from fxsr.models.checkpoint import save_checkpoint
from fxsr.models.network import build_generator
from fxsr.training import loop, schedule
from fxsr.training.planning import plan_recipe
from fxsr.training.state import RunFolder
from fxsr.training.trainer import Trainer
from tests.support import GOLDEN, TINY, SilentMonitor, fxsr_cli, fxsr_here, golden_checkpoint, tiny_recipe
from tests.training import check_resuming, run, weights, write_ncnn


def taught(photos: Path) -> list[str]:
    """Overrides: half of the crops native, and all that came with teachers at once."""
    inputs = 'data.inputs=[{name="reduced"}, {name="native", native=true, t=[0.5, 1]}]'
    line = 'line=["photo", "crisp"]'
    return [
        inputs,
        f'teachers.crisp.source="{photos / "photo0.png"}"',  # any file: tests replace what reads it
        f'psnr.terms=[{{kind="l1", weight=1, {line}}}]',
        'psnr.between="own"',
        'conditional.learns="styles"',
        'conditional.between="own"',
        'conditional.style={per="pixel", uniform=0.5, ends=0.5, map_every=2}',
        f'conditional.terms=[{{kind="l1", weight=1, {line}}}, {{kind="adversarial", gan="vanilla", '
        'weight=[[0, 0], [0.9, 0], [1, 0.01]], target="crisp"}]',
        'conditional.discriminator={kind="unet", nf=4, sees="weighed"}',
    ]


def test_a_run_with_everything_that_teachers_bring_stops_and_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fxsr.training import teachers
    from fxsr.training.cache import Pixels

    def draw(lr: Pixels) -> Pixels:
        return lr.repeat(4, 0).repeat(4, 1)

    monkeypatch.setattr(teachers, "load_teacher", lambda *_: draw)
    check_resuming(photos, tmp_path, *taught(photos))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A clock that steps alone move, by a second each."""
    now = 0.0

    def step(*arguments: Any) -> Any:
        nonlocal now
        now += 1
        return take_step(*arguments)

    take_step = Trainer.step
    monkeypatch.setattr(Trainer, "step", step)
    for module in (loop, schedule):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, perf_counter=lambda: now))
    return lambda: now


def test_minutes_change_the_steps_and_a_run_ends_in_time(
    photos: Path, tmp_path: Path, clock: Callable[[], float]
) -> None:
    recipe = tiny_recipe(photos, "psnr.steps=1000000", "conditional.steps=1000000", "save_every=100000")
    watcher = SilentMonitor()
    outcome = loop.train(recipe, tmp_path, watcher, device="cpu", minutes=1)
    assert 40 < clock() <= 60
    assert outcome.finished
    assert any("to end in 1 minutes" in line for line in watcher.said)
    assert outcome.weights.is_file()
    assert RunFolder(tmp_path, recipe).states()


def test_a_plan_trains_nothing(photos: Path, tmp_path: Path) -> None:
    done = fxsr_cli(
        "train", GOLDEN / "tiny.toml", "--set", f"data.hr={photos}", "--plan", "--device", "cpu", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "psnr: 4 steps of" in done.stdout
    assert "memory" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_plan_is_printed_as_json(photos: Path, tmp_path: Path) -> None:
    arguments = ("--set", f"data.hr={photos}", "--plan", "--json", "--device", "cpu")
    done = fxsr_here("train", GOLDEN / "tiny.toml", *arguments, cwd=tmp_path)
    plan = json.loads(done.stdout)
    assert plan["device"] == "this CPU"
    assert [stage["stage"] for stage in plan["stages"]] == ["psnr", "conditional"]
    assert [phase["last"] for phase in plan["stages"][1]["phases"]] == [1, 4]
    assert plan["stages"][0]["memory"] > 2**20


@pytest.mark.usefixtures("clock")
def test_a_stage_of_one_step_is_timed(photos: Path) -> None:
    plan = plan_recipe(tiny_recipe(photos, "psnr.steps=1"), lambda _: None, "cpu")
    assert [cost.seconds for cost in plan.stages] == [1, 4]


def test_a_plan_tells_how_long_teachers_take_by_a_few_pictures(photos: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "teacher.safetensors", golden_checkpoint(TINY, 1))
    teacher = f'teachers.it.source="{tmp_path / "teacher.safetensors"}"'
    said: list[str] = []
    plan = plan_recipe(tiny_recipe(photos, teacher, 'psnr.terms.0.target="it"'), said.append, "cpu")
    lines = plan.describe()
    assert lines[0].startswith(f"teacher it: {len(list(photos.iterdir()))} pictures of about ")
    assert lines[1].startswith("psnr: 4 steps of ")
    assert said == []


def test_resuming_needs_no_repeated_overrides_and_may_lengthen(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, out, "conditional.steps=0", "psnr.schedule=constant")
    done = fxsr_cli("train", "--resume", "--out", out, "--device", "cpu", "--set", "psnr.steps=6")
    assert done.returncode == 0, done.stderr
    assert "continues with psnr.steps = 6; it was 4" in done.stderr
    assert "psnr stage, step 6, done" in done.stdout


def test_a_cosine_stage_cannot_be_lengthened(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path)
    with pytest.raises(UsageError, match=r"started with conditional\.steps = 4, not 8"):
        run(photos, tmp_path, "conditional.steps=8", resume=True)


def test_missing_feature_weights_are_found_before_pictures_are_read(photos: Path, tmp_path: Path) -> None:
    term = 'psnr.terms=[{kind="perceptual", weight=1, layers=["conv1_2"], weights="absent.pth"}]'
    with pytest.raises(FxsrError, match=r"absent\.pth: no such file"):
        run(photos, tmp_path, term)
    assert not list(tmp_path.iterdir())


def test_a_short_run_logs_its_first_steps(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path, "psnr.steps=20", "conditional.steps=0", "log_every=100")
    assert len(done.losses) == 11  # the first, and every tenth part


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler reads that of its inputs
def test_compiling_changes_nothing_in_either_stage(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(photos, tmp_path / "plain")
    real = torch.compile
    compiled: list[object] = []

    def traced(block: Any) -> Any:
        compiled.append(block)
        return real(block, backend="eager")  # the compiler's own work takes long and is not ours

    monkeypatch.setattr(torch, "compile", traced)
    fast = run(photos, tmp_path / "compiled", "compile=true", stop_after=6)
    fast = run(photos, tmp_path / "compiled", "compile=true", resume=True)
    assert len(compiled) == 3 * 3  # dense blocks, in two stages, and in the second again on resuming
    for key, value in weights(plain).items():
        np.testing.assert_allclose(value, weights(fast)[key], atol=1e-5)


def test_training_begins_with_an_ncnn_network(photos: Path, tmp_path: Path) -> None:
    network = write_ncnn(tmp_path / "net.param", nb=1, nf=8, gc=4)
    overrides = ["psnr.steps=1", "psnr.rate=1e-12", "conditional.steps=0"]
    tuned = run(photos, tmp_path / "run", f"init={tmp_path / 'net.param'}", *overrides)
    for key, value in network.state_dict().items():
        assert np.abs(value.numpy() - weights(tuned)[key]).max() < 1e-6, key


def test_a_network_stays_the_teacher_that_it_began_as(photos: Path, tmp_path: Path) -> None:
    network = write_ncnn(tmp_path / "net.param", nb=1, nf=8, gc=4)
    overrides = [
        f"init={tmp_path / 'net.param'}",
        "init_t=1",
        f'teachers.crisp={{source="{tmp_path / "net.param"}", colours=3, cached=false}}',
        'data.inputs=[{name="reduced", t=[0, 0.5]}, {name="drawings", taught=false}]',
        'psnr.terms=[{kind="l1", weight=1, line=["photo", "crisp"]}]',
        'psnr.learns="styles"',
        "conditional.steps=0",
    ]
    check_resuming(photos, tmp_path, *overrides, stop_after=2)
    trained = weights(run(photos, tmp_path / "run", *overrides))
    for key, value in network.state_dict().items():
        assert np.array_equal(value.numpy(), trained[key]), key
    moved = [key for key, value in trained.items() if key.endswith("_conv1.weight") and value.any()]
    assert len(moved) == 2 * 5 * 3
    lr = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        shown = build_generator(TINY, trained)(lr, torch.ones(1, 1, 1, 1))
        torch.testing.assert_close(shown, network(lr), rtol=1e-4, atol=1e-5)


def test_what_is_held_is_the_same_after_resuming(photos: Path, tmp_path: Path) -> None:
    """Values are those that the first stage learnt, not 0: computing them anew would round them."""
    held = ['conditional.learns="styles"', "conditional.restart_style=false", "conditional.steps=8", "save_every=100"]
    check_resuming(photos, tmp_path, *held, "psnr.rate=1e-2", "conditional.rate=1e-2", stop_after=6)


def test_teachers_that_are_not_there_are_named_before_others_draw(photos: Path, tmp_path: Path) -> None:
    overrides = [
        f'teachers={{faithful={{source="{photos}"}}, crisp={{source="absent.param", cached=false}}}}',
        'psnr.terms=[{kind="l1", weight=1, line=["faithful", "crisp"]}]',
        "conditional.steps=0",
    ]
    with pytest.raises(UsageError, match=r"teacher crisp: absent\.param: no such file"):
        run(photos, tmp_path / "run", *overrides)
    assert not (tmp_path / "run" / "cache").exists()


def test_a_start_that_is_not_there_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"init: absent\.pth: no such file"):
        run(photos, tmp_path, "init=absent.pth")
