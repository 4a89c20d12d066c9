"""The C library runs engines: with stand-ins for TensorRT and the driver, and with the real library as far as that goes
without a GPU."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from tests.fakeengine import KINDS, build_fakes, write_engine
from tests.native import SOURCES, STATUS, Native, NativeError, build_native, onnxruntime_library, run_program
from tests.support import ROOT, TINY, golden_checkpoint

RUN = """
import ctypes, json, sys
import numpy as np
from tests.native import Native, NativeError, Image, style_of
library, engine, graph, options, what = sys.argv[1:]
options = {name: value.encode() if isinstance(value, str) else value for name, value in json.loads(options).items()}
native = Native(library)
driver = ctypes.CDLL("libcuda.so.1")
image = np.random.default_rng(0).integers(0, 256, (41, 90, 3), np.uint8)
styles = np.random.default_rng(1).random((41, 90), np.float32)
styles[:, :34] = 0.25
try:
    with native.worker(engine, **options) as worker, native.worker(graph, tile=min(options["tile"], 32)) as right:
        if what == "compare":
            for t in (0.5, styles):
                for pixels in (image, image[..., :1].copy(), image[:15, :16].copy(), image[:5, :6].copy()):
                    part = t[: pixels.shape[0], : pixels.shape[1]].copy() if isinstance(t, np.ndarray) else t
                    found, expected = worker.run(pixels, part), right.run(pixels, part)
                    assert np.abs(found.astype(int) - expected).max() <= int(pixels.shape[2] == 1 or "half" in graph)
        elif what == "stream":
            stream = ctypes.c_int(0)
            out = worker.output(image)
            given, made = Image.of(image), Image.of(out)
            given.memory = made.memory = 1
            worker.wait(worker.submit_images(given, made, style_of(0.5), ctypes.addressof(stream)))
            assert stream.value == 0
            np.testing.assert_array_equal(out, right.run(image, 0.5))
        else:
            worker.run(image, 0.5)
    print("left on the GPU:", driver.cuMemCount())
except NativeError as error:
    print(error.status, error)
"""


Run = Callable[..., str]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(kind: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Call the library in a process that finds the stand-ins, and return what it prints."""
    folder = tmp_path_factory.mktemp("fakes")
    environment = build_fakes(KINDS[kind], built, folder)

    def call(engine: Path, graph: Path, what: str, options: dict[str, Any] | None = None, **more: str) -> str:
        arguments = json.dumps({"tile": 32} | (options or {}))
        command = (sys.executable, "-c", RUN, folder / "libfxsr.so", engine, graph, arguments, what)
        return run_program(*command, **(environment | {"PYTHONPATH": str(ROOT)} | more)).stdout.strip()

    return call


def test_engines_give_what_their_graph_gives(run: Run, kind: str, model: Path, tmp_path: Path) -> None:
    """In tiles, batches, with maps, one style, both in one image, grey, and images smaller than the engine's tiles."""
    ending = ".rtx.plan" if kind == "rtx" else ".plan"
    write_engine(model, tmp_path / f"x{ending}", KINDS[kind])
    assert run(tmp_path / f"x{ending}", model, "compare") == "left on the GPU: 0"
    # tiles are no larger than the engine takes
    assert run(tmp_path / f"x{ending}", model, "compare", {"tile": 256}) == "left on the GPU: 0"


@pytest.mark.parametrize("kind", ["10"], indirect=True)
def test_an_engine_of_one_shape_is_given_full_batches(run: Run, kind: str, model: Path, tmp_path: Path) -> None:
    write_engine(model, tmp_path / "x.engine", KINDS[kind], batch=(2, 2), side=(32, 32))
    graph = tmp_path / "x.onnx"
    graph.write_bytes(model.read_bytes())
    assert run(tmp_path / "x.engine", model, "run") == "left on the GPU: 0"


@pytest.mark.parametrize("kind", ["10"], indirect=True)
@pytest.mark.parametrize(
    "graph", [{"io": "uint8"}, {"precision": "fp16", "blocked": False}, {"packed": True}, {"baked_t": 0.3}]
)
def test_every_kind_of_graph_becomes_an_engine(run: Run, kind: str, graph: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / ("half.onnx" if "precision" in graph else "x.onnx")
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(**graph), path)
    (tmp_path / "engine").mkdir()
    write_engine(path, tmp_path / "engine" / "x.plan", KINDS[kind])
    assert run(tmp_path / "engine" / "x.plan", path, "compare") == "left on the GPU: 0"


@pytest.mark.parametrize("kind", ["10"], indirect=True)
def test_images_on_the_gpu_use_the_caller_s_stream(run: Run, kind: str, model: Path, tmp_path: Path) -> None:
    write_engine(model, tmp_path / "x.plan", KINDS[kind])
    assert run(tmp_path / "x.plan", model, "stream") == "left on the GPU: 0"


@pytest.mark.parametrize("kind", ["rtx"], indirect=True)
def test_compiled_kernels_are_kept(run: Run, kind: str, model: Path, tmp_path: Path) -> None:
    write_engine(model, tmp_path / "x.rtx.plan", KINDS[kind])
    (tmp_path / "cache").mkdir()
    for count in (1, 2):
        run(tmp_path / "x.rtx.plan", model, "run", {"cache": str(tmp_path / "cache")})
        (kept,) = (tmp_path / "cache").iterdir()
        assert kept.name.endswith("-10701-Fake GPU.cache")
        assert kept.read_text() == "kernels;" * count


@pytest.mark.parametrize("kind", ["10"], indirect=True)
def test_failures_have_a_status_and_a_sentence(run: Run, kind: str, model: Path, tmp_path: Path) -> None:
    fake, path = KINDS[kind], tmp_path / "x.plan"

    def outcome(what: str = "run", **environment: str) -> str:
        return run(path, model, what, **environment)

    write_engine(model, path, fake, failure="CUDA error 700")
    assert outcome() == f"{STATUS['failed']} TensorRT failed to run the engine (CUDA error 700)"
    write_engine(model, path, fake, failure="Error Code 2: OutOfMemory (requested 99 bytes)")
    assert outcome().startswith(f"{STATUS['no memory']} too little memory on the GPU")
    assert "FXSR_TRT to it" in outcome(FXSR_TRT="/nowhere/libfxsr_trt.so.1")
    assert "set FXSR_TENSORRT" in outcome(FXSR_TENSORRT="/nowhere/libnvinfer.so.10")
    write_engine(model, path, fake, strip_weights=True)
    assert "it holds no weights" in outcome()
    manifest = path.with_suffix(".json")
    write_engine(model, path, fake)
    good = manifest.read_text()
    for old, new, status, text in (
        ('"builder_version": "10.6.0.post1"', '"builder_version": "10.7.0"', "bad model", "but 10.6.0 is installed"),
        ('"gpu": "Fake GPU"', '"gpu": "Other"', "no device", "built for Other, but this GPU is Fake GPU"),
        ('"flavour": "tensorrt"', '"flavour": "tensorrt-rtx"', "no device", "compute capabilities"),
        ('"file": "x.plan"', '"file": "y.plan"', "bad model", "its manifest does not list it"),
        ('"sr": "float32"', '"sr": "float16"', "", "left on the GPU: 0"),  # only the model's own facts count
    ):
        assert good.count(old) == 1
        edited = good.replace(old, new)
        if "rtx" in new:
            edited = edited.replace('"compute_capabilities": []', '"compute_capabilities": ["12.0"]')
        manifest.write_text(edited)
        assert text in (found := outcome()), found
        assert not status or found.startswith(str(STATUS[status]))
    manifest.write_text(good)
    path.write_bytes(path.read_bytes() + b"x")
    assert "not the file that its manifest describes" in outcome()
    path.write_bytes(b"junk")
    manifest.unlink()
    assert "its manifest" in outcome()


@pytest.fixture(scope="module")
def real_part() -> Path:
    """The build folder with the part compiled from NVIDIA's own headers."""
    if not (headers := os.environ.get("TENSORRT_INCLUDE")):
        pytest.skip("TENSORRT_INCLUDE does not name the folder of TensorRT's headers")
    return build_native(SOURCES, FXSR_BUILD_EXAMPLES="OFF", TENSORRT_INCLUDE=headers)


def test_the_real_headers_have_the_names_of_the_stand_in(real_part: Path) -> None:
    """It compiles without a warning, and needs neither TensorRT nor CUDA to be loaded."""
    needed = run_program("readelf", "-d", real_part / "libfxsr_trt.so.1").stdout
    assert "nvinfer" not in needed
    assert "cuda" not in needed
    symbols = run_program("nm", "-D", "--defined-only", "--format=posix", real_part / "libfxsr_trt.so.1").stdout
    assert {line.split()[0].partition("@")[0] for line in symbols.splitlines()} - {"FXSR_TRT_1"} == {"fxsr_trt_api"}


def test_without_a_driver_tensorrt_is_not_touched(
    native: Native, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the process, or crash."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_engine(model, tmp_path / "x.plan", KINDS["10"])
    with pytest.raises(NativeError, match=r"an engine needs an NVIDIA GPU, the \.onnx file runs without") as error:
        native.model(tmp_path / "x.plan").__enter__()
    assert error.value.status == STATUS["no device"]


REAL = """
import ctypes, sys
from tests.native import NativeError
class Api(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int32), ("flavour", ctypes.c_char_p), ("library", ctypes.c_char_p),
                ("load", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p,
                                          ctypes.c_char_p, ctypes.c_size_t))]
part = ctypes.CDLL(sys.argv[1])
part.fxsr_trt_api.restype = ctypes.POINTER(Api)
api = part.fxsr_trt_api().contents
maker, version, why = ctypes.c_void_p(), ctypes.c_int32(), ctypes.create_string_buffer(512)
status = api.load(sys.argv[2].encode(), ctypes.byref(maker), ctypes.byref(version), why, 512)
print(status, version.value, bool(maker.value), why.value.decode())
"""


def test_the_real_library_is_loaded_and_asked_for_its_version(real_part: Path) -> None:
    if not (library := os.environ.get("FXSR_TENSORRT")):
        pytest.skip("FXSR_TENSORRT does not name TensorRT's library")
    part = real_part / "libfxsr_trt.so.1"
    done = run_program(sys.executable, "-c", REAL, part, library, PYTHONPATH=str(ROOT)).stdout.split()
    assert done[0] == "0"
    assert int(done[1]) >= 100000
    assert done[2] == "True"
    other = run_program(sys.executable, "-c", REAL, part, onnxruntime_library(), PYTHONPATH=str(ROOT)).stdout
    assert other.startswith(f"{STATUS['no runtime']} ")
    assert "is no library of tensorrt" in other
