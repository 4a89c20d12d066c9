"""Training runs of the smallest network, in this process and in others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fxsr.errors import CheckpointError, FxsrError, UsageError
from fxsr.models.checkpoint import load_checkpoint
from fxsr.models.config import is_style
from fxsr.training.loop import train
from fxsr.training.recipes import recipe_from_json
from fxsr.training.state import RunFolder
from fxsr.training.trainer import TrainingError
from tests.support import (
    GOLDEN,
    PATIENCE,
    ROOT,
    SilentMonitor,
    ended,
    fxsr_cli,
    fxsr_here,
    fxsr_process,
    tiny_recipe,
    write_photos,
)
from tests.training import check_resuming, run, weights

TINY_RECIPE = ["train", str(GOLDEN / "tiny.toml"), "--set", "data.hr=.", "--device", "cpu"]
LOSS_TOLERANCE = 2e-3
"""Relative: processors add up in different orders, and a few steps of Adam amplify that."""


def test_the_losses_of_a_tiny_run_are_those_on_record(photos: Path, tmp_path: Path) -> None:
    losses = run(photos, tmp_path).losses
    golden = json.loads((GOLDEN / "tiny-losses.json").read_text())
    assert [set(step) for step in losses] == [set(step) for step in golden]
    for number, (step, wanted) in enumerate(zip(losses, golden, strict=True)):
        for label in wanted:
            assert step[label] == pytest.approx(wanted[label], rel=LOSS_TOLERANCE, abs=1e-6), (number, label)


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 7])
def test_stopping_and_going_on_equals_going_straight(stop_after: int, photos: Path, tmp_path: Path) -> None:
    check_resuming(photos, tmp_path, stop_after=stop_after)


def test_the_discriminator_learns_and_the_generator_answers_it(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, "conditional.steps=2")
    states = [torch.load(path, weights_only=True) for path in RunFolder(tmp_path, tiny_recipe(photos)).states()]
    early = run(photos, tmp_path / "b", "conditional.steps=1", "save_every=1")
    before = torch.load(tmp_path / "b" / "states" / "conditional-0000001.pt", weights_only=True)["parts"][
        "discriminator"
    ]
    after = states[-1]["parts"]["discriminator"]
    assert early.finished
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[key], after[key]) for key in after)
    run(photos, tmp_path / "c", "conditional.steps=2", "conditional.discriminator.start=2")
    waiting = torch.load(tmp_path / "c" / "states" / "conditional-0000002.pt", weights_only=True)["parts"][
        "discriminator"
    ]
    assert all(torch.equal(before[key], waiting[key]) for key in after if key.endswith("original"))


def test_a_process_may_train_in_one_precision_after_another(photos: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16", "fp32"):
        overrides = ("psnr.steps=1", "conditional.steps=0", f"precision={precision}")
        assert run(photos, tmp_path / str(len(list(tmp_path.iterdir()))), *overrides).finished


def test_a_checkpoint_carries_its_resolved_recipe(photos: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(run(photos, tmp_path, "conditional.rate=2e-3").weights)
    assert recipe_from_json(checkpoint.training) == tiny_recipe(photos, "conditional.rate=2e-3")
    assert checkpoint.about.name == "tiny"
    assert checkpoint.about.recipe == "tiny, conditional stage, 4 steps"


def test_training_begins_where_a_checkpoint_ends(photos: Path, tmp_path: Path) -> None:
    start = run(photos, tmp_path / "a")
    more = run(
        photos, tmp_path / "b", f"init={start.weights}", "psnr.steps=1", "psnr.rate=1e-12", "conditional.steps=0"
    )
    for key, value in weights(start).items():
        assert np.abs(value - weights(more)[key]).max() < 1e-6, key


def test_training_begins_with_a_network_that_has_no_style_layers(photos: Path, tmp_path: Path) -> None:
    plain = {
        key: torch.tensor(value) for key, value in weights(run(photos, tmp_path / "a")).items() if not is_style(key)
    }
    torch.save(plain, tmp_path / "rrdb.pth")
    tuned = run(photos, tmp_path / "b", f"init={tmp_path / 'rrdb.pth'}", "psnr.rate=1e-12", "conditional.steps=0")
    for key, value in plain.items():
        assert np.abs(value.numpy() - weights(tuned)[key]).max() < 1e-6, key
    assert any(map(is_style, weights(tuned)))


def test_a_start_of_another_size_is_refused(photos: Path, tmp_path: Path) -> None:
    start = run(photos, tmp_path / "a", "network.nf=4")
    with pytest.raises(CheckpointError, match=r"conv_first\.weight is \[4, 3, 3, 3\], not \[8, 3, 3, 3\]"):
        run(photos, tmp_path / "b", f"init={start.weights}")


def test_only_the_last_states_stay(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, "keep=2", "save_every=1")
    names = sorted(path.name for path in (tmp_path / "states").iterdir())
    assert names == ["conditional-0000003.pt", "conditional-0000004.pt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("No space left on device")])
def test_a_failure_while_writing_leaves_the_old_checkpoint(
    error: Exception, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photos, tmp_path, stop_after=2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    real = torch.save

    def fails_in_the_middle(content: object, path: Path) -> None:
        real(content, path)
        with path.open("r+b") as file:
            file.truncate(100)
        raise error

    monkeypatch.setattr(torch, "save", fails_in_the_middle)
    with pytest.raises(FxsrError, match="No space left on device"):
        run(photos, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    assert run(photos, tmp_path, resume=True).finished


@pytest.mark.parametrize("damage", ["short", "scrambled", "partial"])
def test_a_damaged_state_falls_back_to_the_one_before(damage: str, photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, "save_every=1", stop_after=3)
    newest = tmp_path / "states" / "psnr-0000003.pt"
    if damage == "short":
        newest.write_bytes(newest.read_bytes()[:1000])
    elif damage == "scrambled":
        data = bytearray(newest.read_bytes())
        data[200:1200] = np.random.default_rng(0).bytes(1000)
        newest.write_bytes(data)
    else:
        content = torch.load(newest, weights_only=True)
        del content["parts"]["average"]
        torch.save(content, newest)
    watcher = SilentMonitor()
    assert train(tiny_recipe(photos, "save_every=1"), tmp_path, watcher, True, device="cpu").finished
    assert "psnr-0000003.pt: not a readable training state" in watcher.said[0]


def test_no_readable_state_is_an_error(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, stop_after=1)
    for path in (tmp_path / "states").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of the 1 saved states can be read"):
        run(photos, tmp_path, resume=True)


def test_a_run_is_not_overwritten_unasked(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, stop_after=1)
    with pytest.raises(UsageError, match="holds a run already; continue it with --resume"):
        run(photos, tmp_path)


def test_resuming_with_another_recipe_names_the_difference(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, stop_after=1)
    with pytest.raises(UsageError, match=r"started with psnr\.terms\.0\.weight = 1\.0, not 2\.0"):
        run(photos, tmp_path, "psnr.terms.0.weight=2", resume=True)
    assert run(photos, tmp_path, "data.workers=1", "log_every=2", resume=True).finished


def test_rates_may_change_on_the_way_and_that_is_said(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, stop_after=1)
    watcher = SilentMonitor()
    recipe = tiny_recipe(photos, "conditional.rate=1e-5", "psnr.clip=2", "init=moved.safetensors")
    assert train(recipe, tmp_path, watcher, True, device="cpu").finished
    assert watcher.said == [
        "continues with conditional.rate = 1e-05; it was 0.001",
        "continues with psnr.clip = 2.0; it was 0.0",
    ]


def test_a_stage_that_has_not_begun_may_change(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, stop_after=3)
    watcher = SilentMonitor()
    recipe = tiny_recipe(photos, "conditional.batch=2", "conditional.terms.1.weight=2")
    assert train(recipe, tmp_path, watcher, True, device="cpu").finished
    assert watcher.said == [
        "continues with conditional.batch = 2; it was 4",
        "continues with conditional.terms.1.weight = 2.0; it was 0.5",
    ]


def test_a_stage_that_is_over_does_not_change(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path)
    for override in ("psnr.steps=6", "psnr.rate=1e-5", "conditional.rate=1e-5"):
        with pytest.raises(UsageError, match=r"comes too late: this stage of the run in .* is over") as caught:
            run(photos, tmp_path, override, resume=True)
        assert len(str(caught.value).splitlines()) == 1


def test_losses_are_means_over_the_steps_since_the_last_line(photos: Path, tmp_path: Path) -> None:
    each = [step["l1"] for step in run(photos, tmp_path / "each", "conditional.steps=0").losses]
    run(photos, tmp_path / "parts", "conditional.steps=0", "log_every=4", stop_after=1)
    rest = run(photos, tmp_path / "parts", "conditional.steps=0", "log_every=4", resume=True)
    assert rest.losses == [{"l1": pytest.approx(sum(each[1:]) / 3)}]


def test_weights_that_are_not_finite_are_not_saved(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"is not finite; --resume from the last state with a lower psnr\.rate"):
        run(photos, tmp_path, "psnr.rate=1", "psnr.betas=[0, 0]", "psnr.steps=200", "save_every=1")
    for path in (tmp_path / "states").glob("*.pt"):
        saved = torch.load(path, weights_only=True)["parts"]["generator"]
        assert all(torch.isfinite(weight).all() for weight in saved.values())


def test_a_loss_that_is_not_a_number_stops_and_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"conditional stage, step \d+: charbonnier is not finite; .* lower conditional\.rate"
    ):
        run(photos, tmp_path, "psnr.rate=1", "psnr.steps=50")


def test_a_batch_that_processes_cannot_share_is_refused(photos: Path, tmp_path: Path) -> None:
    done = torchrun(2, photos, tmp_path, "conditional.batch=3")
    assert "conditional.batch is 3; it must be a multiple of the number of processes, 2" in done.stderr
    assert not list(tmp_path.iterdir())  # the second stage is checked before the first begins


def test_two_processes_give_the_gradient_of_one(photos: Path, tmp_path: Path) -> None:
    alone = run(photos, tmp_path / "one", "psnr.steps=1", "conditional.steps=3")
    done = torchrun(2, photos, tmp_path / "two", "psnr.steps=1", "conditional.steps=3")
    assert done.returncode == 0, done.stderr
    together = load_checkpoint(tmp_path / "two" / "tiny.safetensors").weights
    start = {key: np.zeros_like(value) for key, value in together.items()}
    moved = max(float(np.abs(value - start[key]).max()) for key, value in together.items())
    for key, value in weights(alone).items():
        # Adam's first steps are of the rate's size whatever the gradient's: agreement is that of the gradient's sign
        assert np.abs(value - together[key]).max() < 1e-4 * moved, key


def torchrun(processes: int, photos: Path, out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [str(ROOT / "cli.py"), "train", str(GOLDEN / "tiny.toml"), "--out", str(out)]
    for override in (f"data.hr={photos}", *overrides):
        command += ["--set", override]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_saves_and_stops(workers: int, number: signal.Signals, photos: Path, tmp_path: Path) -> None:
    arguments = ["train", str(GOLDEN / "tiny.toml"), "--device", "cpu", "--out", str(tmp_path / "run")]
    overrides = ["--set", f"data.hr={photos}", "--set", "psnr.steps=100000", "--set", "save_every=100000"]
    overrides += ["--set", f"data.workers={workers}"]
    with ended(fxsr_process(*arguments, *overrides)) as process:
        assert process.stderr is not None
        assert any(line.startswith("psnr 2/") for line in process.stderr)  # reads until then
        os.killpg(process.pid, number)  # as a terminal does
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number, stderr
    assert "stopped; go on with --resume" in stdout
    assert len(list((tmp_path / "run" / "states").iterdir())) == 1
    assert load_checkpoint(tmp_path / "run" / "tiny.safetensors").about.name == "tiny"


def test_from_ten_photos_to_an_upscaled_picture(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 10, (60, 72))
    overrides = [f"data.hr={tmp_path / 'photos'}", f"validation.hr={tmp_path / 'photos'}", "validation.features=none"]
    sets = [part for override in overrides for part in ("--set", override)]
    done = fxsr_cli("train", GOLDEN / "tiny.toml", *sets, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "runs/tiny/tiny.safetensors (conditional stage, step 4, done)" in done.stdout
    assert "t=0 PSNR" in done.stderr
    report = json.loads((tmp_path / "runs" / "tiny" / "validation" / "conditional-0000004.json").read_text())
    assert [scores["t"] for scores in report["scores"]] == [None, 0, 0.25, 0.5, 0.75, 1]
    assert list((tmp_path / "runs" / "tiny" / "log").glob("events.*"))
    weights = tmp_path / "runs" / "tiny" / "tiny.safetensors"
    assert (tmp_path / "runs" / "tiny" / "tiny-best.safetensors").is_file()
    assert json.loads(fxsr_cli("info", weights, "--json").stdout)["training"]["psnr"]["batch"] == 4
    assert fxsr_cli("export", "--checkpoint", weights, "--engine", "none", cwd=tmp_path).returncode == 0
    photo = tmp_path / "photos" / "photo0.png"
    done = fxsr_cli("run", photo, "-e", tmp_path / "engines" / "tiny-x4-fp32.onnx", "-o", "sr.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sr.png").is_file()


def test_recipes_are_listed() -> None:
    done = fxsr_cli("train", "--list")
    assert done.returncode == 0, done.stderr
    assert "srot-x4" in done.stdout
    assert "18,301,061" in done.stdout


def test_the_objective_is_drawn(tmp_path: Path) -> None:
    from fxsr.images.image import read_image

    done = fxsr_cli("train", "srot-x4", "--plot-objective", tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "out.png").pixels.std() > 10
    assert done.stderr == f"fxsr: the plot is in {tmp_path / 'out.png'}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["train"], 2, "name a recipe"),
        (["train", "absent.toml"], 2, "no such recipe"),
        (["train", "srot-x4", "--set", "sead=1"], 2, "unknown field `sead`"),
        (["train", "fxsr-pd-x4-small"], 2, "--set data.hr=FOLDER"),
        (["train", "fxsr-pd-x4-small", "--device", "tpu"], 2, "it must be auto or cpu"),
        (["train", "srot-x4", "--plot-objective", "out.doc"], 2, "plots are written as .png, .svg or .pdf"),
        (["train", "fxsr-pd-x4-small", "--set", "data.hr=.", "--set", "precision=fp16"], 2, "needs a GPU"),
        (["train", "fxsr-pd-x4-small", "--set", "data.hr=nowhere"], 2, "nowhere: no such folder of images"),
        ([*TINY_RECIPE, "--plan", "--set", "validation.hr=nowhere"], 2, "nowhere: no such folder of images"),
        ([*TINY_RECIPE, "--plan", "--set", "validation.hr=."], 2, ".: holds no images"),
        ([*TINY_RECIPE, "--plan", "--plot-objective", "out.png"], 2, "--plan and --plot-objective exclude each other"),
        (["eval", "fxsr-pd-x4-small", "--hr", "nowhere"], 2, "nowhere: no such folder of images"),
        (["eval", "fxsr-pd-x4-small", "--hr", ".", "--t", "0,2"], 2, "--t 0,2: write numbers from 0 to 1"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], status: int, line: str, tmp_path: Path) -> None:
    done = fxsr_here(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
