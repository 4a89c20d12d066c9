"""`fxsr verify`: what it compares, what it finds, and what it leaves in manifests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fxsr.errors import FxsrError
from fxsr.export.verify.compare import _record, read_models
from fxsr.export.verify.layer_diff import layerwise_network
from fxsr.export.verify.runners import RunnerSession, load_backend, onnx_runner
from fxsr.export.verify.verify import ByteSession
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.models.checkpoint import Checkpoint, save_checkpoint
from fxsr.models.manifest import Verification, read_manifest, write_manifest
from fxsr.runtime.backends.onnxruntime import read_facts
from fxsr.runtime.backends.tensorrt.engine_file import read_engine
from fxsr.runtime.open import open_session
from tests.support import ROOT, SAMPLE, TINY, fxsr_cli, fxsr_here, golden_checkpoint

FORMS = {
    "fp32": [],
    "fp16": ["--fp16"],
    "bf16": ["--bf16"],
    "fp32-uint8-packed": ["--io", "uint8", "--packed"],
    "fp32-t0.5": ["--bake-t", "0.5"],
}

COMPARE_AS_IF_ON_A_GPU = """
import sys, cli
import fxsr.export.verify.runners as runners
from fxsr.export.verify.cases import bundled_photos
from fxsr.export.verify.compare import compare, read_models

runners.check_runnable = runners.check_cuda = lambda *arguments: None
compare(*read_models(sys.argv[1:]), bundled_photos())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x.safetensors and its graph in several forms, unverified; y.safetensors, which differs in one layer."""
    folder = tmp_path_factory.mktemp("verify")
    checkpoint = golden_checkpoint(TINY, 5)
    save_checkpoint(folder / "x.safetensors", checkpoint)
    weights = dict(checkpoint.weights) | {"HRconv.bias": checkpoint.weights["HRconv.bias"] + np.float32(0.01)}
    save_checkpoint(folder / "y.safetensors", Checkpoint(TINY, weights, checkpoint.about))
    for flags in FORMS.values():
        done = fxsr_here(
            *("export", "--checkpoint", "x.safetensors", *flags, "--no-verify", "--engine", "none"), cwd=folder
        )
        assert done.returncode == 0, done.stderr
    return folder


def graph(folder: Path, form: str) -> Path:
    return folder / "engines" / f"golden-x4-{form}.onnx"


def test_every_form_agrees_with_its_checkpoint_and_its_manifest_says_so(folder: Path) -> None:
    files = [graph(folder, form) for form in FORMS]
    assert all(read_manifest(file.with_suffix(".json")).verification is None for file in files)
    done = fxsr_cli("verify", folder / "x.safetensors", *files)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": passed, 22 of 22 comparisons hold") == len(FORMS) - 1
    assert ": passed, 5 of 5 comparisons hold" in done.stdout
    for file in files:
        verification = read_manifest(file.with_suffix(".json")).verification
        assert verification is not None
        assert verification.passed


def test_forms_are_compared_with_each_other(folder: Path) -> None:
    done = fxsr_here("verify", graph(folder, "fp32"), graph(folder, "fp16"), graph(folder, "fp32-uint8-packed"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("22 of 22") == 2


def test_other_weights_fail_and_leave_the_manifest_alone(folder: Path) -> None:
    before = graph(folder, "fp32").with_suffix(".json").read_bytes()
    done = fxsr_here("verify", folder / "y.safetensors", graph(folder, "fp32"), "--json")
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)
    assert not report["verification"]["passed"]
    assert not any(check["passed"] for check in report["verification"]["checks"])
    assert graph(folder, "fp32").with_suffix(".json").read_bytes() == before


def test_a_failure_marks_the_manifest_of_what_was_made_of_it(folder: Path, tmp_path: Path) -> None:
    """A graph whose weights were changed after its export, and its manifest with it."""
    import onnx

    from fxsr.files import sha256
    from fxsr.models.manifest import write_manifest

    target = tmp_path / graph(folder, "fp32").name
    model = onnx.load(graph(folder, "fp32"))
    bias = next(each for each in model.graph.initializer if each.name == "conv_last.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
    onnx.save(model, target)
    manifest = read_manifest(graph(folder, "fp32").with_suffix(".json"))
    changed = replace(manifest.onnx, sha256=sha256(target), bytes=target.stat().st_size)
    write_manifest(target.with_suffix(".json"), replace(manifest, onnx=changed, verification=None))
    done = fxsr_here("verify", folder / "x.safetensors", target)
    assert done.returncode == 1
    # 0.1 of the outputs' range, which is 1 or more
    assert re.search(r"verification failed: cat 64x48 t=0: PSNR 2\d\.", done.stderr)
    verification = read_manifest(target.with_suffix(".json")).verification
    assert verification is not None
    assert not verification.passed


def test_the_first_diverging_layer_is_named(folder: Path) -> None:
    done = fxsr_here("verify", folder / "y.safetensors", graph(folder, "fp32"), "--layers")
    assert done.returncode == 1
    assert "first diverging layer: HRconv (" in done.stdout
    done = fxsr_here("verify", folder / "x.safetensors", graph(folder, "fp16"), "--layers", "--json")
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)
    assert {"conv_first", "RRDB_trunk.0.RDB2.sft3.add", "sr"} < {layer["name"] for layer in layers}
    assert any(layer["relative"] > 0 for layer in layers)


def test_layers_of_the_bundled_model_agree(tmp_path: Path) -> None:
    done = fxsr_here("export", "--fp16", "--engine", "none", "--no-verify", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    done = fxsr_here("verify", DEFAULT_MODEL, tmp_path / f"{DEFAULT_MODEL}-fp16.onnx", "--layers")
    assert done.returncode == 0, done.stdout + done.stderr


def test_results_do_not_undo_each_other(folder: Path, tmp_path: Path) -> None:
    """Manifests are read once more when a result is written: others may have come in."""
    here = Path(shutil.copytree(folder / "engines", tmp_path / "engines"))
    onnx = here / graph(folder, "fp32").name
    first, other = read_models([str(folder / "x.safetensors"), str(onnx)])
    manifest = read_manifest(onnx.with_suffix(".json"))
    write_manifest(onnx.with_suffix(".json"), replace(manifest, kept_because={"conv_last": "meanwhile"}))
    _record(first, other, Verification(True, "1 dB", ()))
    found = read_manifest(onnx.with_suffix(".json"))
    assert found.kept_because == {"conv_last": "meanwhile"}
    assert found.verification is not None


@pytest.mark.parametrize("form", ["bf16", "fp32-t0.5", "fp32-uint8-packed"])
def test_layers_of_other_forms_agree(form: str, folder: Path) -> None:
    done = fxsr_here("verify", folder / "x.safetensors", graph(folder, form), "--layers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no layer diverges" in done.stdout


def test_users_photos_are_compared_too(folder: Path) -> None:
    done = fxsr_here("verify", folder / "x.safetensors", graph(folder, "fp32"), "--images", SAMPLE.parent, "--json")
    (report,) = json.loads(done.stdout)
    cases = [check["case"] for check in report["verification"]["checks"]]
    assert f"{SAMPLE} 64x48 t=checkerboard" in cases
    assert len(cases) == 32


@pytest.mark.parametrize(
    ("files", "status", "message"),
    [
        (["x.safetensors"], 2, "name the file to compare it with"),
        (["x.safetensors", "missing.onnx"], 2, "no such file"),
        (["x.safetensors", "fxsr-pd-x4-small", "--images", "."], 2, "no images in this folder"),
        (["engines/golden-x4-fp32.onnx"], 2, "fxsr verify CHECKPOINT engines/golden-x4-fp32.onnx"),
        (["engines/golden-x4-fp32.json", "x.safetensors"], 2, "this kind of file can't be used here; give"),
        (["x.safetensors", "--layers"], 2, "name the file to compare it with"),
    ],
)
def test_what_cannot_be_compared_is_one_line(files: list[str], status: int, message: str, folder: Path) -> None:
    done = fxsr_here("verify", *files, cwd=folder)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Polygraphy gives TensorRT-RTX a timing cache
def test_an_engine_needs_a_gpu_and_says_so(folder: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    arguments = ("--checkpoint", "x.safetensors", "--fp16", "--tile", "32", "--engine", "tensorrt-rtx")
    done = fxsr_here("export", *arguments, "--out", "rtx", "--no-verify", cwd=folder)
    assert done.returncode == 0, done.stderr
    plan = folder / "rtx" / "golden-x4-fp16.rtx.plan"
    done = fxsr_here("verify", plan)
    if done.returncode:  # no GPU here
        assert done.returncode == 3
        assert "needs an NVIDIA GPU" in done.stderr
        assert "not compared" in done.stdout
    # Polygraphy must not have settled on TensorRT before it is told of TensorRT-RTX
    command = [sys.executable, "-c", COMPARE_AS_IF_ON_A_GPU, str(plan)]
    compared = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert compared.returncode == 0 or "can't be loaded" in compared.stderr, compared.stderr
    facts = read_engine(plan).facts
    backend = load_backend(facts)  # what --layers builds on a GPU machine builds without one too
    network, config = layerwise_network(backend, plan.with_name("golden-x4-fp16.onnx"), facts)
    assert backend.engine_bytes_from_network(network, config)
    plan.with_name("golden-x4-fp16.onnx").unlink()
    done = fxsr_here("verify", plan)
    assert done.returncode == 2
    assert "golden-x4-fp16.onnx, which it was built from, is missing or has changed" in done.stderr


def test_polygraphys_runner_is_a_session(folder: Path) -> None:
    rng = np.random.default_rng(0)
    lr, t_map = rng.random((1, 3, 20, 24), np.float32), rng.random((1, 1, 20, 24), np.float32)
    for form in ("fp32", "fp32-uint8-packed"):
        path = graph(folder, form)
        with RunnerSession(onnx_runner(path), read_facts(path), path) as session, open_session(path, "cpu") as ours:
            assert session.info.scale == 4
            assert np.array_equal(session.run(lr, t_map), ours.run(lr, t_map))
            with pytest.raises(FxsrError, match=r"failed on 24x20|shape"):
                session.run(lr[:, :2], t_map)
            assert not np.array_equal(ByteSession(ours).run(lr, t_map), ours.run(lr, t_map)) or "uint8" in form
