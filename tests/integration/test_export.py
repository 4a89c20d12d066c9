"""`fxsr export` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fxsr.checkpoint import About, Checkpoint, load_checkpoint, save_checkpoint
from fxsr.config import NetworkConfig
from fxsr.files import sha256
from fxsr.manifest import read_manifest
from fxsr.network import build_generator
from fxsr.runtime.session import open_session
from fxsr.weights import model_path
from tests.support import TINY, fxsr_cli, golden_checkpoint, relative


def test_the_published_size_exports_and_agrees_with_its_network(tmp_path: Path) -> None:
    import torch

    checkpoint = golden_checkpoint(NetworkConfig(), 20220113)
    path = tmp_path / "published.safetensors"
    save_checkpoint(path, Checkpoint(checkpoint.config, checkpoint.weights, About("fxsr-pd", "pd")))
    done = fxsr_cli("export", "--checkpoint", path, "--engine", "none", "--scale", "4", "--out", tmp_path / "e")
    assert done.returncode == 0, done.stderr
    assert "comparisons hold" in done.stdout
    manifest = read_manifest(tmp_path / "e" / "fxsr-pd-x4-fp32.json")
    assert manifest.verification is not None
    assert manifest.verification.passed
    assert manifest.model.checkpoint_sha256 == sha256(path)
    assert manifest.onnx.sha256 == sha256(tmp_path / "e" / manifest.onnx.file)
    rng = np.random.default_rng(0)
    lr, t_map = rng.random((1, 3, 20, 24), np.float32), rng.random((1, 1, 20, 24), np.float32)
    with torch.inference_mode():
        generator = build_generator(checkpoint.config, checkpoint.weights)
        expected = generator(torch.from_numpy(lr), torch.from_numpy(t_map)).numpy()
    with open_session(tmp_path / "e" / manifest.onnx.file, "cpu") as session:
        assert relative(session.run(lr, t_map), expected) < 1e-5


@pytest.mark.parametrize(("flags", "stem"), [(["--fp16"], "fp16"), (["--fp32"], "fp32"), (["--compact"], "fp32")])
def test_the_bundled_model_exports_in_every_precision(flags: list[str], stem: str, tmp_path: Path) -> None:
    done = fxsr_cli("export", "--scale", "4", *flags, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verification"]["passed"]
    assert Path(report["onnx_path"]).name == f"fxsr-pd-x4-small-{stem}.onnx"
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".json"}


def test_debug_switches_and_no_verify_are_in_the_manifest(tmp_path: Path) -> None:
    done = fxsr_cli("export", "--no-fold", "--no-phase", "--no-verify", "--name", "plain", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "plain-x4-fp32.json")
    assert manifest.model.rewrites == ()
    assert manifest.verification is None


def test_half_precision_that_overflows_fails_the_verification(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 1)
    weights = dict(checkpoint.weights) | {"conv_first.weight": checkpoint.weights["conv_first.weight"] * 3e4}
    save_checkpoint(tmp_path / "hot.safetensors", Checkpoint(TINY, weights, About("hot")))
    done = fxsr_cli("export", "--checkpoint", tmp_path / "hot.safetensors", "--fp16", "--out", tmp_path)
    assert done.returncode == 1
    assert "verification failed" in done.stderr
    verification = read_manifest(tmp_path / "hot-x4-fp16.json").verification
    assert verification is not None
    assert not verification.passed


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--scale", "8"], 2, "is a x4 model, not x8"),
        (["--model", "nothing"], 2, "not a bundled model"),
        (["--checkpoint", "gone.pth"], 1, "gone.pth: no such file"),
        (["--checkpoint", "text.pth"], 1, "text.pth: not a PyTorch checkpoint"),
        (["--fp16", "--fp32"], 2, "exclude each other"),
        (["--fp16", "--compact"], 2, "--compact is for --fp32"),
        (["--model", "fxsr-pd-x4-small", "--checkpoint", "text.pth"], 2, "exclude each other"),
        (["--out", "text.pth"], 1, "cannot write"),
    ],
)
def test_bad_input_gets_one_clear_line(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    done = fxsr_cli("export", *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.pth"]


def test_the_bundled_checkpoint_is_what_its_description_says() -> None:
    checkpoint = load_checkpoint(model_path("fxsr-pd-x4-small", ".safetensors"))
    assert checkpoint.config == NetworkConfig(scale=4, nf=32, gc=16, nb=4, nc=16)
    assert checkpoint.config.parameters == 830_597
