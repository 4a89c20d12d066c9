from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from fxsr.errors import CheckpointError
from fxsr.models.checkpoint import About, Checkpoint, load_checkpoint, save_checkpoint
from fxsr.models.config import NetworkConfig
from tests.support import TINY, golden_checkpoint

STATE = {key: torch.from_numpy(value) for key, value in golden_checkpoint(TINY, 3).weights.items()}


def assert_is_state(checkpoint: Checkpoint) -> None:
    assert checkpoint.config == TINY
    assert set(checkpoint.weights) == set(STATE)
    assert all(np.array_equal(checkpoint.weights[key], value.numpy()) for key, value in STATE.items())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(STATE, id="bare"),
        pytest.param({f"module.{key}": value for key, value in STATE.items()}, id="module prefix"),
        pytest.param({"params": STATE}, id="params"),
        pytest.param({"params_ema": STATE, "params": {}}, id="params_ema wins"),
        pytest.param({"state_dict": {f"module.{k}": v for k, v in STATE.items()}, "epoch": 7}, id="lightning-like"),
    ],
)
def test_reads_the_ways_state_dicts_are_saved(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "FxSR_PD.pth")
    checkpoint = load_checkpoint(tmp_path / "FxSR_PD.pth")
    assert_is_state(checkpoint)
    assert checkpoint.about.name == "fxsr_pd"
    assert len(checkpoint.digest) == 64


def test_reads_the_format_before_torch_1_6(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_is_state(load_checkpoint(tmp_path / "old.pth"))


def test_half_weights_become_float32(tmp_path: Path) -> None:
    torch.save({key: value.half() for key, value in STATE.items()}, tmp_path / "half.pth")
    weights = load_checkpoint(tmp_path / "half.pth").weights
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_safetensors_round_trip_keeps_weights_and_description(tmp_path: Path) -> None:
    about = About("fxsr-pd", "pd", "recipe with ünïcode", "MIT")
    weights = {key: value.numpy() for key, value in STATE.items()}
    save_checkpoint(tmp_path / "a" / "model.safetensors", Checkpoint(TINY, weights, about))
    loaded = load_checkpoint(tmp_path / "a" / "model.safetensors")
    assert_is_state(loaded)
    assert loaded.about == about


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_safetensors_round_trip_with_residual_blocks(scale: int, tmp_path: Path) -> None:
    saved = golden_checkpoint(NetworkConfig(scale=scale, trunk="rb", nf=8, gc=0, nb=3, nc=4), 3)
    save_checkpoint(tmp_path / "model.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == saved.config
    assert set(loaded.weights) == set(saved.weights)
    assert all(np.array_equal(loaded.weights[key], value) for key, value in saved.weights.items())


def test_safetensors_of_others_are_read_too(tmp_path: Path) -> None:
    save_file({f"module.{key}": value.numpy() for key, value in STATE.items()}, tmp_path / "theirs.safetensors")
    assert_is_state(load_checkpoint(tmp_path / "theirs.safetensors"))


class Trap:
    """A pickle that makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("bare", [True, False])
def test_code_in_a_pickle_is_refused_and_never_run(bare: bool, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    path = tmp_path / "evil.pth"
    if bare:
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save(STATE | {"trap": trap}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pth: refused, since it holds code"):
        load_checkpoint(path)
    assert not trap.path.exists()


def write_truncated(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:5000])


def write_truncated_safetensors(path: Path) -> None:
    save_file({key: value.numpy() for key, value in STATE.items()}, path)
    path.write_bytes(path.read_bytes()[:5000])


def with_metadata(path: Path, **metadata: str) -> None:
    save_file({key: value.numpy() for key, value in STATE.items()}, path, metadata=metadata)


def scramble(path: Path) -> None:
    """A file of the format before torch 1.6, whose reader fails in ways of its own."""
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    data = bytearray(path.read_bytes())
    data[-200_000:] = data[-200_000:-100_000]
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.pth", lambda path: path.write_text("not weights"), "not a PyTorch checkpoint"),
        ("a.pth", lambda path: path.write_bytes(b""), "not a PyTorch checkpoint"),
        ("a.pth", write_truncated, "truncated"),
        ("a.pth", lambda path: torch.save([1, 2], path), "holds a list instead of a state dict"),
        ("a.pth", lambda path: torch.save({"epoch": 3}, path), "holds no tensors"),
        ("a.pth", lambda path: torch.save({"model.0.weight": torch.ones(1)}, path), "ESRGAN generator"),
        ("a.pth", lambda path: torch.save(STATE | {"x": torch.ones(1)}, path), "extra: x"),
        (
            "a.pth",
            lambda path: torch.save(STATE | {"x": torch.ones(1, dtype=torch.complex64)}, path),
            "x is not a plain",
        ),
        ("a.pth", lambda path: torch.save(STATE | {"x": torch.ones(2, 2).to_sparse()}, path), "x is not a plain"),
        ("a.pth", lambda path: torch.save(STATE | {"RRDB_trunk.3000000.x": torch.ones(1)}, path), "extra: "),
        ("a.pth", scramble, "not a PyTorch checkpoint"),
        ("a.safetensors", lambda path: with_metadata(path, fxsr='{"name": 5}'), "header is damaged"),
        ("a.safetensors", lambda path: with_metadata(path, fxsr='{"name": "\\ud800"}'), "header is damaged"),
        ("a.safetensors", lambda path: with_metadata(path, **{"fxsr.recipe": "{"}), "recipe is damaged"),
        ("a.safetensors", lambda path: path.write_text("not weights"), "not a readable safetensors file"),
        ("a.safetensors", lambda path: path.write_bytes(b""), "not a readable safetensors file"),
        ("a.safetensors", write_truncated_safetensors, "not a readable safetensors file"),
    ],
)
def test_wrong_files_are_refused_by_name_and_reason(name: str, write: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such file"):
        load_checkpoint(tmp_path / "gone.pth")


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    torch.save(STATE | {"conv_last.bias": torch.full((3,), torch.nan)}, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"1 parameters hold NaN or infinity, the first is conv_last\.bias"):
        load_checkpoint(tmp_path / "nan.pth")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("precious")
    wrong = {key: value.numpy() for key, value in STATE.items()} | {"conv_last.bias": np.ones(4, np.float32)}
    with pytest.raises(CheckpointError, match="of a wrong shape"):
        save_checkpoint(path, Checkpoint(TINY, wrong))
    assert path.read_text() == "precious"
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]
