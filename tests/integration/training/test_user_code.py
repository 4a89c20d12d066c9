"""Recipes that name code of a user: loss terms and trunks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fxsr.errors import CheckpointError, UsageError
from fxsr.models.checkpoint import load_checkpoint
from fxsr.training.loop import train
from fxsr.training.recipes import recipe_from_json
from tests.support import GOLDEN, SilentMonitor, fxsr_cli, tiny_recipe
from tests.training import run, weights

CODE = """
import torch
from torch import nn
from fxsr.models.network import SFT

def absolute(sr, target, lr):
    return (sr - target).abs().mean(1, keepdim=True)

def flat(sr, target, lr):
    return (sr - target).abs().mean()

def wide(sr, target, lr):
    return sr - target

def number(sr, target, lr):
    return 1.0

def dead(sr, target, lr):
    return (sr - target).detach().mean(1, keepdim=True)

def broken(sr, target, lr):
    return sr / lr

def other(sr):
    return sr

CONSTANT = 3

class Trunk(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv = nn.Conv2d(config.nf, config.nf, 3, padding=1, bias=False)
        self.style = SFT(config.nf, config.nc)

    def forward(self, x, cond):
        return x + self.style(self.conv(x), cond)

class Frozen(Trunk):
    def __init__(self, config):
        super().__init__(config)
        self.conv.requires_grad_(False)

class Shrinks(Trunk):
    def forward(self, x, cond):
        return super().forward(x, cond)[:, :, ::2]

class Remembers(nn.Sequential):
    def __init__(self, config):
        super().__init__(nn.BatchNorm2d(config.nf))

def no_module(config):
    return config

def fails(config):
    raise KeyError("width")
"""
LOSS = 'psnr.terms=[{{kind="python:my_terms.{}", weight=1, name="l1"}}]'


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "my_terms.py").write_text(CODE)
    (folder / "my_faults.py").write_text("x = 1\nraise OSError('no such camera')\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield
    for name in ("my_terms", "my_faults"):
        sys.modules.pop(name, None)


def test_a_loss_of_a_user_trains_like_ours(photos: Path, tmp_path: Path) -> None:
    ours = run(photos, tmp_path / "ours", "conditional.steps=0")
    monitor = SilentMonitor()
    recipe = tiny_recipe(photos, LOSS.format("absolute"), "conditional.steps=0")
    theirs = train(recipe, tmp_path / "theirs", monitor, device="cpu")
    assert monitor.said == ["warning: this recipe runs code that is not FxSR's: python:my_terms.absolute"]
    assert theirs.losses == ours.losses
    for key, value in weights(ours).items():
        assert np.array_equal(value, weights(theirs)[key]), key
    stored = recipe_from_json(load_checkpoint(theirs.weights).training)  # reading it needs no code
    assert stored.stages["psnr"].terms[0].kind == "python:my_terms.absolute"


def test_a_recipe_of_ours_gives_no_warning(photos: Path, tmp_path: Path) -> None:
    monitor = SilentMonitor()
    train(tiny_recipe(photos, "conditional.steps=0"), tmp_path, monitor, device="cpu")
    assert monitor.said == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.loss", "Python finds no module nowhere; install it, or add its folder to PYTHONPATH"),
        ("my_faults.loss", r"importing my_faults failed: OSError: no such camera \(my_faults\.py, line 2\)"),
        ("my_terms.absent", "the module my_terms has no function absent"),
        ("my_terms.CONSTANT", "has no function CONSTANT"),
        ("my_terms.other", r"it takes \(sr\); it must take \(sr, target, lr\)"),
        ("my_terms.flat", r"returned \[\]; it must return an error map \[2, 1, h, w\] for 2 crops"),
        ("my_terms.wide", r"returned \[2, 3, 32, 32\]; it must return"),
        ("my_terms.number", r"returned float; it must return an error map"),
        ("my_terms.dead", "no gradient reaches sr"),
        ("my_terms.broken", r"failed with two crops of 32x32: RuntimeError: .*\(my_terms\.py, line 22\)"),
    ],
)
def test_what_is_wrong_with_a_loss_is_one_line(name: str, message: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(photos, tmp_path / "run", LOSS.format("").replace("my_terms.", name))
    assert str(caught.value).startswith(f"python:{name}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_command_line_warns_and_names_faults(photos: Path, tmp_path: Path) -> None:
    sets = ["--set", f"data.hr={photos}", "--set", "conditional.steps=0", "--device", "cpu"]
    sets += ["--out", str(tmp_path / "run")]
    done = fxsr_cli("train", GOLDEN / "tiny.toml", *sets, "--set", LOSS.format("absolute"))
    assert done.returncode == 0, done.stderr
    assert "fxsr: warning: this recipe runs code that is not FxSR's: python:my_terms.absolute" in done.stderr
    done = fxsr_cli("train", GOLDEN / "tiny.toml", *sets, "--set", LOSS.format("flat"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2  # the warning, and the error


TRUNK = ["network.trunk=python:my_terms.Trunk", "network.gc=0"]


def test_a_trunk_of_a_user_trains_stops_and_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(photos, tmp_path / "straight", *TRUNK)
    first = run(photos, tmp_path / "parts", *TRUNK, stop_after=5)
    second = run(photos, tmp_path / "parts", *TRUNK, resume=True)
    assert first.losses + second.losses == straight.losses
    with pytest.raises(CheckpointError, match=r"its trunk is the code python:my_terms\.Trunk; set FXSR_RUN_CODE=1"):
        load_checkpoint(second.weights)
    monkeypatch.setenv("FXSR_RUN_CODE", "1")
    assert load_checkpoint(second.weights).config.trunk == "python:my_terms.Trunk"
    assert "user_trunk.style.SFT_scale_conv0.weight" in weights(second)
    for key, value in weights(straight).items():
        assert np.array_equal(value, weights(second)[key]), key


def test_what_a_trunk_of_a_user_froze_stays(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXSR_RUN_CODE", "1")
    frozen = ["network.trunk=python:my_terms.Frozen", "network.gc=0", "conditional.steps=0", "psnr.rate=1e-2"]
    one, four = (weights(run(photos, tmp_path / str(n), *frozen, f"psnr.steps={n}")) for n in (1, 4))
    assert np.array_equal(one["user_trunk.conv.weight"], four["user_trunk.conv.weight"])
    assert not np.array_equal(one["conv_first.weight"], four["conv_first.weight"])


def test_a_network_with_a_trunk_of_a_user_upscales_and_is_not_exported(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = run(photos, tmp_path / "run", *TRUNK, "conditional.steps=0").weights
    monkeypatch.setenv("FXSR_RUN_CODE", "1")
    done = fxsr_cli("run", photos / "photo0.png", "-e", trained, "-o", tmp_path / "sr.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sr.png").is_file()
    done = fxsr_cli("export", "--checkpoint", trained, "--engine", "none", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "its trunk is code of a user; graphs are written of rrdb and rb only" in done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Shrinks", r"its module returned \[2, 8, 4, 8\] for x \[2, 8, 8, 8\]; it must keep that shape"),
        ("Remembers", r"its module has the buffer 0\.running_mean; checkpoints hold parameters only"),
        ("no_module", r"returned NetworkConfig; it must return a torch\.nn\.Module"),
        ("fails", r"failed: KeyError: 'width' \(my_terms\.py, line \d+\)"),
        ("absolute", r"it takes \(sr, target, lr\); it must take \(config\)"),
    ],
)
def test_what_is_wrong_with_a_trunk_is_one_line(name: str, message: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(photos, tmp_path / "run", f"network.trunk=python:my_terms.{name}", "network.gc=0")
    assert str(caught.value).startswith(f"python:my_terms.{name}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("psnr.terms.0.kind=l11", "`kind` is 'l11'; it must be one of l1, l2, .*, contrast, or python:MODULE.FUNCTION"),
        ("psnr.terms.0.kind=python:loss", "`kind` 'python:loss' names no function; write python:MODULE.FUNCTION"),
        ("network.trunk=vit", "trunk is 'vit'; it must be one of rrdb, rb, or python:MODULE.FUNCTION"),
        ("network.trunk=python:a-b.c", "names no function; write python:MODULE.FUNCTION"),
    ],
)
def test_misspelt_names_list_what_there_is(override: str, message: str, photos: Path) -> None:
    with pytest.raises(UsageError, match=message):
        tiny_recipe(photos, override)
