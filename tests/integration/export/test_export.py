"""`fxsr export` as a user meets it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fxsr.files import sha256
from fxsr.models.bundled import DEFAULT_MODEL, bundled_file
from fxsr.models.checkpoint import About, Checkpoint, load_checkpoint, save_checkpoint
from fxsr.models.config import NetworkConfig
from fxsr.models.manifest import read_manifest, write_manifest
from fxsr.models.network import build_generator
from fxsr.runtime.open import open_session
from tests.schemas import check_schema
from tests.support import SAMPLE, TINY, fxsr_cli, fxsr_here, golden_checkpoint, relative

FOR_ENGINES = [
    ["--strip-weights"],
    ["--opt-level", "9"],
    ["--timing-cache", "/nope/x"],
    ["--version-compatible"],
    ["--batch", "4"],
]
"""Options that say how to build an engine."""


def test_the_model_of_full_size_exports_and_agrees_with_its_network(tmp_path: Path) -> None:
    import torch

    path = bundled_file("fxsr-photo-x4", ".safetensors")
    checkpoint = load_checkpoint(path)
    done = fxsr_cli("export", "--model", "fxsr-photo-x4", "--engine", "none", "--scale", "4", "--out", tmp_path / "e")
    assert done.returncode == 0, done.stderr
    assert "comparisons hold" in done.stdout
    manifest = read_manifest(tmp_path / "e" / "fxsr-photo-x4-fp32.json")
    check_schema("manifest.schema.json", json.loads((tmp_path / "e" / "fxsr-photo-x4-fp32.json").read_bytes()))
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
    done = fxsr_cli("export", "--scale", "4", *flags, "--engine", "none", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verification"]["passed"]
    assert Path(report["onnx_path"]).name == f"{DEFAULT_MODEL}-{stem}.onnx"
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".json"}


def test_rewrites_left_out_and_no_verify_are_in_the_manifest(tmp_path: Path) -> None:
    switches = ("--without", "fold,phase,strips", "--no-verify", "--engine", "none")
    done = fxsr_cli("export", *switches, "--name", "plain", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "plain-x4-fp32.json")
    assert manifest.model.rewrites == ()
    assert manifest.verification is None


def test_a_model_goes_into_a_repository_of_triton(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny.safetensors", golden_checkpoint(TINY, 3))
    more = ("--engine", "none", "--no-verify", "--triton", tmp_path / "repository")
    done = fxsr_cli("export", "--checkpoint", "tiny.safetensors", *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (config,) = (tmp_path / "repository").glob("*/config.pbtxt")
    assert f"{config.parent} (model repository: {tmp_path / 'repository'})" in done.stdout
    assert (config.parent / "1" / "model.onnx").exists()


def test_layers_that_overflow_in_half_precision_are_kept_in_float32(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 1)
    weights = dict(checkpoint.weights)
    for name, factor in (("HRconv", 3e5), ("conv_last", 1 / 3e5)):  # too large for a half between these two
        weights[f"{name}.weight"] = weights[f"{name}.weight"] * np.float32(factor)
    weights["HRconv.bias"] = weights["HRconv.bias"] * np.float32(3e5)
    save_checkpoint(tmp_path / "hot.safetensors", Checkpoint(TINY, weights, About("hot")))
    done = fxsr_cli(
        *("export", "--checkpoint", tmp_path / "hot.safetensors", "--fp16", "--engine", "none", "--out", tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert "HRconv is kept in float32 (otherwise: NaN or infinity)" in done.stdout
    manifest = read_manifest(tmp_path / "hot-x4-fp16.json")
    assert manifest.model.kept_float32 == ("HRconv", "conv_last")
    assert set(manifest.kept_because) == {"HRconv", "conv_last"}
    assert manifest.verification is not None
    assert manifest.verification.passed


@pytest.mark.parametrize(
    ("flags", "stem"),
    [
        (["--bf16"], "bf16"),
        (["--bf16", "--io", "uint8", "--packed"], "bf16-uint8-packed"),
        (["--bf16", "--io", "uint8", "--bake-t", "0.3"], "bf16-t0.3-uint8"),
        (["--io", "uint8"], "fp32-uint8"),
        (["--fp16", "--io", "uint8", "--packed"], "fp16-uint8-packed"),
        (["--bake-t", "0.5", "--esrgan"], "fp32-t0.5"),
    ],
)
def test_other_forms_of_the_graph_are_verified_and_run(flags: list[str], stem: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.safetensors", golden_checkpoint(TINY, 5))
    done = fxsr_cli("export", "--checkpoint", "x.safetensors", *flags, "--engine", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    onnx = tmp_path / "engines" / f"golden-x4-{stem}.onnx"
    manifest = read_manifest(onnx.with_suffix(".json"))
    assert manifest.verification is not None
    assert manifest.verification.passed
    if "--esrgan" in flags:
        assert manifest.esrgan is not None
        assert manifest.esrgan.inside_max_abs < 1e-4 < manifest.esrgan.max_abs
        assert (onnx.parent / manifest.esrgan.file.file).is_file()
        done = fxsr_cli("run", SAMPLE, "-e", onnx, "--t", "0.3", cwd=tmp_path)
        assert done.returncode == 2
        assert "t fixed at 0.5" in done.stderr
    if "--bf16" in flags:
        return  # for engines; ONNX Runtime's CPU has no such convolutions
    lr, style = np.full((1, 3, 8, 8), 0.5, np.float32), np.full((1, 1, 1, 1), 0.5, np.float32)
    with open_session(onnx, "cpu") as session, open_session(tmp_path / "x.safetensors", "cpu") as network:
        dtype = session.info.dtype
        found = session.run(lr.astype(dtype), style.astype(dtype))
        assert np.abs(np.clip(found, 0, 1) - np.clip(network.run(lr, style), 0, 1)).max() < 0.02


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with x.safetensors and its export, unverified."""
    save_checkpoint(tmp_path / "x.safetensors", golden_checkpoint(TINY, 5))
    assert export_tiny(tmp_path).returncode == 0
    return tmp_path


def export_tiny(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ("export", "--checkpoint", "x.safetensors", "--no-verify", "--engine", "none")
    return fxsr_here(*command, *arguments, cwd=folder)


@pytest.mark.parametrize("name", ["../up", "/tmp/up", "a/b", "..", "", "a\nb"])
def test_names_do_not_lead_out_of_the_folder(name: str, tiny: Path) -> None:
    about = About(name=name)
    save_checkpoint(tiny / "named.safetensors", replace(golden_checkpoint(TINY, 5), about=about))
    before = sorted(tiny.rglob("*"))
    for arguments in (["--name", name], ["--checkpoint", "named.safetensors"]):
        done = export_tiny(tiny, *arguments)
        assert done.returncode == 2, done.stdout
        empty = name == "" and arguments[0] == "--name"
        assert ("the value of --name is empty" if empty else "can't be used in file names") in done.stderr
    assert sorted(tiny.rglob("*")) == before


def test_a_refused_export_leaves_what_was_there(tiny: Path) -> None:
    before = {path: path.read_bytes() for path in tiny.rglob("*.*") if path.is_file()}
    command = (
        "export",
        "--checkpoint",
        "x.safetensors",
        "--without",
        "fold",
        "--engine",
        "none",
        "--images",
        "gone.png",
    )
    done = fxsr_cli(*command, cwd=tiny)
    assert done.returncode == 1
    assert "gone.png" in done.stderr
    assert {path: path.read_bytes() for path in tiny.rglob("*.*") if path.is_file()} == before


def test_what_was_taken_away_or_is_called_otherwise_is_written_anew(tiny: Path) -> None:
    engines = tiny / "engines"
    assert "up to date" in export_tiny(tiny).stdout
    (engines / "golden-x4-fp32.json").rename(engines / "other.json")
    assert "up to date" not in export_tiny(tiny).stdout
    assert (engines / "golden-x4-fp32.json").is_file()
    assert export_tiny(tiny, "--name", "foo", "--out", "foo").returncode == 0
    assert "golden-x4-fp32.onnx" in export_tiny(tiny, "--out", "foo").stdout
    baked = ("--bake-t", "-0.0", "--esrgan")
    assert "golden-x4-fp32-t0.onnx" in export_tiny(tiny, *baked).stdout
    (pth,) = engines.glob("*.pth")
    pth.unlink()
    assert export_tiny(tiny, *baked).returncode == 0
    assert pth.is_file()


def test_a_manifest_that_contradicts_itself_is_written_anew(tiny: Path) -> None:
    flags = ("--bf16", "--out", "e")
    assert export_tiny(tiny, *flags).returncode == 0
    path = tiny / "e" / "golden-x4-bf16.json"
    written = read_manifest(path)
    write_manifest(path, replace(written, model=replace(written.model, compact=True)))
    done = export_tiny(tiny, *flags)
    assert done.returncode == 0, done.stderr
    assert read_manifest(path).model == written.model


def test_half_precision_without_an_engine_is_said_to_be_for_gpus(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsr.export.engine.engine.choose_flavour", lambda _: None)  # as where no builder is installed
    command = ("export", "--checkpoint", "x.safetensors", "--no-verify")
    for more, said in (["--fp16"], True), ([], False):
        errors = fxsr_here(*command, *more, cwd=tiny).stderr
        assert "no engine was built" in errors
        assert ("slower than one of --fp32" in errors) == said


def test_a_network_of_nothing_but_zeros_is_verified(tmp_path: Path) -> None:
    nothing = golden_checkpoint(TINY, 5)
    zeros = {key: np.zeros_like(value) for key, value in nothing.weights.items()}
    save_checkpoint(tmp_path / "x.safetensors", replace(nothing, weights=zeros))
    done = fxsr_cli("export", "--checkpoint", "x.safetensors", "--engine", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "verified: 22 of 22" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--batch", "\u00b2"], 2, "--batch \u00b2: write one number"),
        (["--scale", "8"], 2, "is a x4 model, not x8"),
        (["--model", "nothing"], 2, "not a bundled model"),
        (["--checkpoint", "gone.pth"], 1, "gone.pth: no such file"),
        (["--checkpoint", "text.pth"], 1, "text.pth: not a PyTorch checkpoint"),
        (["--fp16", "--fp32"], 2, "exclude each other"),
        (["--fp16", "--bf16"], 2, "exclude each other"),
        (["--without", "fold,folds"], 2, "--without folds: write one or more of fold, phase, strips, blocked"),
        (["--no-strips"], 2, "--no-strips: this option is gone; write --without strips"),
        (["--esrgan"], 2, "--esrgan needs --bake-t"),
        (["--no-verify", "--images", "gone"], 2, "--no-verify and --images exclude each other"),
        *((["--engine", "none", *flags], 2, f"{flags[0]}: this is for building") for flags in FOR_ENGINES),
        (["--engine", "none", "--tile", "64"], 2, "--tile or --shapes: this is for building"),
        (["--bake-t", "2"], 2, "must be 0 to 1"),
        (["--fp16", "--compact"], 2, "--compact is for --fp32"),
        (["--model", "fxsr-pd-x4-small", "--checkpoint", "text.pth"], 2, "exclude each other"),
        (["--out", "text.pth"], 1, "cannot write"),
    ],
)
def test_bad_input_gets_one_clear_line(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    done = fxsr_here("export", *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.pth"]


SMALL = NetworkConfig(scale=4, nf=32, gc=16, nb=6, nc=16), "1,226,501"


@pytest.mark.parametrize(
    ("name", "config", "count"),
    [("fxsr-pd-x4-small", *SMALL), ("fxsr-photo-x4-small", *SMALL), ("fxsr-photo-x4", NetworkConfig(), "18,301,061")],
)
def test_bundled_checkpoints_are_what_their_descriptions_say(name: str, config: NetworkConfig, count: str) -> None:
    checkpoint = load_checkpoint(bundled_file(name, ".safetensors"))
    assert checkpoint.config == config
    assert f"{checkpoint.config.parameters:,}" == count
    assert f"{count} parameters" in bundled_file(name, ".md").read_text()
