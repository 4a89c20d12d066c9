"""Every wrong argument has a status and a sentence, and damaged or foreign files are refused."""

from __future__ import annotations

import ctypes
import json
import shutil
from collections.abc import Callable
from ctypes import byref, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fxsr.models.manifest import METADATA_KEY
from tests.native import STATUS, Image, Native, NativeError, Style, onnxruntime_library
from tests.support import fxsr_cli, noise

PIXELS = noise(3, np.uint8, (20, 24))


def image(**changes: Any) -> Image:
    made = Image.of(PIXELS)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


BAD_IMAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no width": ({"width": 0}, "bad image", "the input is 0x20; both sides must be 1 or more"),
    "two channels": ({"channels": 2}, "bad image", "the input has 2 channels; it must have 1 (grey) or 3 (RGB)"),
    "type": ({"type": 9}, "bad image", "the input is of type 9; it must be an fxsr_type"),
    "memory": ({"memory": 7}, "bad image", "the input is in memory 7; it must be in an fxsr_memory"),
    "no data": ({"data": None}, "bad image", "the input has no data"),
    "stride": ({"row_stride": 2**62}, "bad image", f"the input has a stride of {2**62} bytes"),
    "no size": ({"size": 0}, "bad argument", "the input has the size 0; call its fxsr_..._init function first"),
    "sides": ({"width": 2**30}, "bad image", "the input's sides must be at most 536870911 pixels"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_wrong_inputs(native: Native, model: Path, case: str) -> None:
    changes, status, text = BAD_IMAGES[case]
    with native.worker(model) as worker:
        out = Image.of(worker.output(PIXELS))
        found = native.lib.fxsr_run(worker.handle, byref(image(**changes)), None, byref(out))
        assert (found, native.lib.fxsr_error(worker.handle).decode()) == (STATUS[status], text)


def test_wrong_outputs(native: Native, model: Path) -> None:
    with native.worker(model) as worker:
        with pytest.raises(NativeError, match="the output is 24x20 with 3 channels; it must be 96x80 with 3"):
            worker.run(PIXELS, out=np.zeros_like(PIXELS))
        one_row = np.lib.stride_tricks.as_strided(np.zeros((1, 96, 3), np.uint8), (80, 96, 3), (0, 3, 1))
        with pytest.raises(NativeError, match="its elements would overlap"):
            worker.run(PIXELS, out=one_row)
        block = np.zeros((80, 96, 3), np.uint8)
        with pytest.raises(NativeError, match="the input and the output share memory"):
            worker.run(block[:20, :24], out=block)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (lambda: Style(t=1.5), "t is 1.5; it must be 0 to 1"),
        (lambda: Style(t=float("nan")), "t is nan; it must be 0 to 1"),
        (
            lambda: map_of(np.zeros((20, 24), np.float32), -1.0),
            "feather is -1; it must be a number of pixels, 0 or more",
        ),
        (
            lambda: map_of(np.zeros((9, 9), np.float32)),
            "the style map is 9x9 and the image 24x20; resize the map first",
        ),
        (lambda: map_of(np.full((20, 24), 2, np.float32)), "style values must lie in 0..1; these reach from 2 to 2"),
    ],
)
def test_wrong_styles(native: Native, model: Path, style: Callable[[], Style], text: str) -> None:
    with native.worker(model) as worker:
        given = style()
        out = Image.of(worker.output(PIXELS))
        status = native.lib.fxsr_run(worker.handle, byref(image()), byref(given), byref(out))
        assert (status, native.lib.fxsr_error(worker.handle).decode()) == (STATUS["bad style"], text)


def map_of(values: Any, feather: float = 0) -> Style:
    style = Style(feather=feather)
    style.kept = values
    style.map = ctypes.pointer(Image.of(values))
    return style


def test_values_that_are_no_numbers(native: Native, model: Path) -> None:
    pixels = noise(3, np.float32, (20, 24))
    pixels[3, 4, 1] = np.inf
    with native.worker(model) as worker, pytest.raises(NativeError, match="the image holds NaN or infinity"):
        worker.run(pixels)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tile": -5}, "tile -5 and overlap -2 must not be negative"),
        ({"tile": 32, "overlap": 20}, "overlap 20 is more than half of tile 32; use 16 or less"),
        ({"provider": 8}, "provider is 8; it must be an fxsr_provider"),
        ({"threads": -1}, "threads -1 and device 0 must not be negative"),
    ],
)
def test_wrong_options(native: Native, model: Path, options: dict[str, int], text: str) -> None:
    with pytest.raises(NativeError) as error, native.model(model, **options):
        pass
    assert (error.value.status, str(error.value)) == (STATUS["bad argument"], text)


def test_null_pointers(native: Native, model: Path) -> None:
    bad = STATUS["bad argument"]
    assert native.lib.fxsr_open(str(model).encode(), None, None) == bad
    assert native.lib.fxsr_worker_new(None, byref(c_void_p())) == bad
    assert native.lib.fxsr_run(None, None, None, None) == bad
    assert native.lib.fxsr_open_error(None)
    assert native.lib.fxsr_error(None)
    native.lib.fxsr_close(None)
    native.lib.fxsr_worker_free(None)
    with native.worker(model) as worker:
        assert native.lib.fxsr_run(worker.handle, byref(image()), None, None) == bad
        assert native.lib.fxsr_error(worker.handle) == b"the output is null"


def test_every_status_has_a_name(native: Native) -> None:
    for name, status in STATUS.items():
        assert native.lib.fxsr_status_name(status).decode() == f"FXSR_{name.upper().replace(' ', '_')}"


def test_structs_of_later_versions_are_taken_if_they_ask_for_nothing_new(native: Native, model: Path) -> None:
    class Later(ctypes.Structure):
        _fields_ = (("style", Style), ("added", ctypes.c_int64))

    later = Later(Style(t=0.5), 0)
    later.style.size = ctypes.sizeof(Later)
    with native.worker(model) as worker:
        out = worker.output(PIXELS)
        arguments = byref(image()), ctypes.cast(byref(later), ctypes.POINTER(Style)), byref(Image.of(out))
        assert native.lib.fxsr_run(worker.handle, *arguments) == 0
        np.testing.assert_array_equal(out, worker.run(PIXELS, 0.5))
        later.added = 1
        assert native.lib.fxsr_run(worker.handle, *arguments) == STATUS["bad argument"]


@pytest.mark.parametrize(
    ("contents", "text"),
    [
        (b"", "the file is empty"),
        (b"\0" * 300, "begins with zeros only"),
        (b"version https://git-lfs.github.com", "git lfs pull"),
        (b"PK\x03\x04rest", "a PyTorch checkpoint or a zip archive"),
        (b"<html>", "a web page"),
        (b"ptrt\0\0\0", "a TensorRT engine"),
        (b"\x08\x08garbage", "ONNX Runtime failed to load the model"),
    ],
)
def test_foreign_files(native: Native, tmp_path: Path, contents: bytes, text: str) -> None:
    (tmp_path / "x.onnx").write_bytes(contents)
    with pytest.raises(NativeError, match=text) as error, native.model(tmp_path / "x.onnx"):
        pass
    assert error.value.status == STATUS["bad model"]
    assert str(error.value).startswith(f"{tmp_path / 'x.onnx'}: ")


def test_a_missing_file(native: Native, tmp_path: Path) -> None:
    with pytest.raises(NativeError, match=r"it can't be read \(No such file or directory\)"):
        native.model(tmp_path / "none.onnx").__enter__()


def test_a_truncated_model(native: Native, model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(NativeError) as error, native.model(tmp_path / "x.onnx"):
        pass
    assert error.value.status == STATUS["bad model"]


def edited(model: Path, path: Path, **changes: Any) -> Path:
    """The model with other facts; None: without any."""
    graph = onnx.load(model)
    (entry,) = graph.metadata_props
    facts = json.loads(entry.value)
    entry.key = changes.pop("key", METADATA_KEY)
    entry.value = json.dumps(facts | changes)
    onnx.save(graph, path)
    return path


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"key": "other"}, "not one that fxsr exported"),
        ({"schema": 2}, "written with schema 2, but this library reads 1"),
        ({"config": {"scale": 3}}, "the scale is 3"),
        ({"io": "uint8"}, "has the layout NCHW"),
        ({"baked_t": 0.5}, "the number of inputs is 2"),
        ({"name": 7}, "name is of the wrong type"),
    ],
)
def test_descriptions_that_can_not_be_true(
    native: Native, model: Path, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(NativeError, match=text) as error, native.model(edited(model, tmp_path / "x.onnx", **changes)):
        pass
    assert error.value.status == STATUS["bad model"]


def test_an_output_of_another_size_than_promised(native: Native, model: Path, tmp_path: Path) -> None:
    path = edited(model, tmp_path / "x.onnx", config={"scale": 2})
    with native.worker(path) as worker, pytest.raises(NativeError, match="another size than its description says"):
        worker.run(PIXELS)


def test_a_file_that_differs_from_its_manifest(native: Native, tmp_path: Path) -> None:
    options = ("--engine", "none", "--no-verify")
    assert fxsr_cli("export", "--model", "fxsr-pd-x4-small", *options, "--out", tmp_path).returncode == 0
    (path,) = tmp_path.glob("*.onnx")
    with native.model(path) as model:
        assert native.info(model).name == b"fxsr-pd-x4-small"
    shutil.copy(path, tmp_path / "kept")
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(NativeError, match="it is not the file that its manifest describes"):
        native.model(path).__enter__()
    shutil.copy(tmp_path / "kept", path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(NativeError, match="its description is not JSON"):
        native.model(path).__enter__()


def test_an_absent_onnx_runtime(native: Native, model: Path) -> None:
    with pytest.raises(NativeError, match="set FXSR_ONNXRUNTIME") as error:
        native.model(model, onnxruntime=b"/nowhere/libonnxruntime.so").__enter__()
    assert error.value.status == STATUS["no runtime"]
    assert onnxruntime_library().is_file()


def test_an_absent_gpu(native: Native, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NativeError, match="NVIDIA driver") as error:
        native.model(model, provider=1).__enter__()
    assert error.value.status == STATUS["no device"]
