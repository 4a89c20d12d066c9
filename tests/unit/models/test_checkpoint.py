from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from fxsr.errors import CheckpointError
from fxsr.models import torch_pickle
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


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_every_type_of_floats_is_read_alike_from_both_kinds_of_files(
    kind: torch.dtype, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{ending}"
    state = {key: value.to(kind) for key, value in STATE.items()}
    (torch.save if ending == "pth" else save_torch)(state, path)
    weights = load_checkpoint(path).weights
    assert all(np.array_equal(weights[key], value.float().numpy()) for key, value in state.items())


def test_what_lies_next_to_the_weights_is_passed_over(tmp_path: Path) -> None:
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    others = {"x": bytearray(b"12"), "y": b"bytes", "s": {1, 2}, "d": torch.float32, "size": torch.Size([1])}
    torch.save({"params": STATE, "optimiser": optimiser, **others}, tmp_path / "a.pth")
    assert_is_state(load_checkpoint(tmp_path / "a.pth"))


def test_parameters_views_and_attributes_are_read_as_their_values(tmp_path: Path) -> None:
    state = OrderedDict({key: torch.nn.Parameter(value) for key, value in STATE.items()})
    state["conv_first.weight"] = torch.cat([STATE["conv_first.weight"]] * 2)[8:]  # type: ignore[assignment]
    state["trunk_conv.weight"] = STATE["trunk_conv.weight"].permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)  # type: ignore[assignment]
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "a.pth")
    assert_is_state(load_checkpoint(tmp_path / "a.pth"))


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


def with_bias(path: Path, bias: torch.Tensor, **options: Any) -> None:
    torch.save(STATE | {"conv_first.bias": bias}, path, **options)


def with_pickle(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)


def flip_a_bit(path: Path) -> None:
    torch.save(STATE, path)
    data = bytearray(path.read_bytes())
    data[data.index(STATE["trunk_conv.weight"].numpy().tobytes()[:64])] ^= 1
    path.write_bytes(data)


def cut_a_storage(path: Path) -> None:
    torch.save(STATE, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data[:4] if name.endswith("data/0") else data)


def write_header(path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"1234")


def trace(path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8)), path)  # type: ignore[no-untyped-call]


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
ODD_FILES = [
    ("a.pth", lambda path: with_bias(path, torch.quantize_per_tensor(torch.ones(8), 0.1, 0, torch.qint8)), "quantised"),
    ("a.pth", lambda path: with_bias(path, torch.nested.nested_tensor([torch.ones(3), torch.ones(5)])), "nested"),
    ("a.pth", lambda path: with_bias(path, torch.complex(torch.ones(8), torch.ones(8)).conj().imag), "a negated view"),
    ("a.pth", lambda path: with_bias(path, torch.empty(8, device="meta")), "without values"),
    ("a.pth", lambda path: with_bias(path, torch.ones(1).expand(8)), "an expanded view"),
    ("a.pth", lambda path: with_bias(path, torch.ones(8).to(torch.float8_e4m3fn)), "float8_e4m3fn, whose values need"),
    ("a.pth", lambda path: with_bias(path, torch.ones(8).to(torch.int8)), "conv_first.bias is of type int8; weights"),
    ("a.safetensors", lambda path: save_torch({"x": torch.ones(8).to(torch.float8_e5m2)}, path), "x is of type float8"),
    ("a.pt", trace, "this is a TorchScript program"),
    ("a.pth", lambda path: path.write_text(POINTER), "a Git LFS pointer instead of the file itself; type: git lfs"),
    ("a.safetensors", lambda path: path.write_text(POINTER), "a Git LFS pointer"),
    ("a.pth", lambda path: path.write_text("\n<!DOCTYPE html><html>"), "this is a web page"),
    ("a.pth", lambda path: path.write_bytes(b"GGUF" + bytes(99)), "this is a GGUF file"),
    ("a.pth", lambda path: path.write_bytes(bytes(999)), "begins with zeros only"),
    ("a.pth", lambda path: path.write_bytes(gzip.compress(b"x")), "this is a gzip archive; unpack it"),
    ("a.pth", lambda path: save_torch(STATE, path), "but a safetensors file; rename it to .safetensors"),
    ("a.safetensors", lambda path: torch.save(STATE, path), "but a PyTorch file or zip archive"),
    ("a.pth", lambda path: path.write_bytes(b"\x08\x08\x12\x04fxsr"), "but an ONNX file; rename it to .onnx"),
    ("a.pth", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a pickle of a dict, not a PyTorch checkpoint"),
    ("a.pth", flip_a_bit, "Bad CRC-32"),
    ("a.pth", cut_a_storage, "the values of storage 0 are missing or cut off"),
    ("a.pth", lambda path: with_pickle(path, b""), "damaged"),
    ("a.pth", lambda path: torch.save({("a",): 1}, path), "a key is neither text nor a number"),
    ("a.pth", lambda path: torch.save({f"{key}\x1b[2J": value for key, value in STATE.items()}, path), r"\\x1b\[2J"),
    ("a.safetensors", lambda path: write_header(path, {"a": 5}), "damaged one"),
    (
        "a.safetensors",
        lambda path: write_header(path, {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        "the values of a lie beyond its end",
    ),
]


@pytest.mark.parametrize(("name", "write", "message"), ODD_FILES)
def test_files_of_other_kinds_are_named_for_what_they_are(name: str, write: Any, message: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some kinds of tensors are experimental or deprecated
        write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert str(caught.value).isprintable()


class Bytes:
    """A pickle that asks for a bytearray."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return bytearray, (self.count,)


BOMBS = [
    lambda path: torch.save({"params": {}, "x": Bytes(3 * 10**9)}, path),
    lambda path: with_pickle(path, b"\x80\x02" + b"N0" * 2**25 + b"N.", zipfile.ZIP_DEFLATED),
    lambda path: with_pickle(path, b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"."),
    lambda path: torch.save({"x": torch.ones(1, dtype=torch.half).expand(10**10)}, path),
    lambda path: torch.save(dict.fromkeys(map(str, range(9)), torch.ones(4)), path),
]


def test_a_pickle_of_too_many_steps_is_given_up() -> None:
    stream = io.BytesIO(b"\x80\x02" + b")" + b"\x85" * 10_000 + b".")
    with pytest.raises(CheckpointError, match="more than 10,000 steps"):
        torch_pickle.interpret(stream, Mock(), 10_000)


@pytest.mark.parametrize("write", BOMBS)
def test_a_small_file_takes_little_memory(write: Any, tmp_path: Path) -> None:
    write(tmp_path / "a.pth")
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "a.pth")
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()


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
