"""The C library under sanitizers: allocations that fail, damaged files, and threads."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.models.manifest import METADATA_KEY, encode_facts
from tests.fakeengine import KINDS, write_engine
from tests.native import PROGRAMS, SOURCES, build_native, run_program
from tests.support import TINY, golden_checkpoint

_ADDRESS = {
    "ASAN_OPTIONS": "alloc_dealloc_mismatch=0:detect_leaks=1:allocator_may_return_null=1",  # faults.cpp replaces `new`
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


_FAST = {"CMAKE_BUILD_TYPE": "RelWithDebInfo", "CMAKE_CXX_FLAGS_RELWITHDEBINFO": "-O1 -g1"}
"""Sanitizers make compiling slow, the more the compiler optimises."""


@pytest.fixture(scope="module")
def checked() -> Path:
    """Programs with AddressSanitizer, which finds leaks too, and UndefinedBehaviorSanitizer."""
    return build_native(PROGRAMS, FXSR_SANITIZE="address,undefined", PROGRAMS="faults;fuzz;measure", **_FAST)


@pytest.fixture(scope="module")
def plain() -> Path:
    """Programs as they are released, with line numbers."""
    return build_native(PROGRAMS, PROGRAMS="measure;overhead", CMAKE_BUILD_TYPE="Release", CMAKE_CXX_FLAGS="-g")


@pytest.fixture
def suppressions(tmp_path: Path) -> Path:
    """What ONNX Runtime itself does is not tested here."""
    path = tmp_path / "suppressions"
    path.write_text("leak:libonnxruntime\n")
    return path


def test_every_allocation_may_fail(checked: Path, model: Path, suppressions: Path) -> None:
    """With a status and a sentence, without a leak, and the next call works; fxsr_measure tells what is allocated."""
    done = run_program(checked / "faults", model, LSAN_OPTIONS=f"suppressions={suppressions}", **_ADDRESS)
    assert int(done.stdout.split()[0]) > 50


def test_damaged_files_and_random_arguments_are_refused(
    checked: Path, model: Path, suppressions: Path, tmp_path: Path
) -> None:
    done = run_program(checked / "fuzz", model, tmp_path, "60", LSAN_OPTIONS=f"suppressions={suppressions}", **_ADDRESS)
    assert done.stdout == "all refused or right\n"


def test_eight_threads_share_a_model(model: Path, tmp_path: Path) -> None:
    folder = build_native(PROGRAMS, FXSR_SANITIZE="thread", PROGRAMS="threads", **_FAST)
    (tmp_path / "suppressions").write_text("mutex:libonnxruntime\nrace:libonnxruntime\n")
    options = f"halt_on_error=1:suppressions={tmp_path / 'suppressions'}"
    done = run_program(folder / "threads", model, TSAN_OPTIONS=options)
    assert done.stdout == "all threads got the same pixels\n"


def test_measured_sizes_are_what_runs_need(checked: Path, model: Path, suppressions: Path) -> None:
    """In a program under sanitizers, whose output buffers are exactly as large as fxsr_measure says."""
    done = run_program(checked / "measure", model, "10", LSAN_OPTIONS=f"suppressions={suppressions}", **_ADDRESS)
    assert done.stdout == "all as measured\n"


def test_valgrind_finds_nothing(plain: Path, model: Path) -> None:
    """No value is used before it is set, also where a sanitizer does not look; what ONNX Runtime does is suppressed."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed; on Debian: apt-get install valgrind")
    suppressions = f"--suppressions={PROGRAMS / 'onnxruntime.supp'}"
    run_program("valgrind", "--quiet", "--error-exitcode=9", suppressions, plain / "measure", model, "1", "valgrind")


def test_libfuzzer_finds_nothing_in_what_fxsr_open_reads(model: Path, tmp_path: Path) -> None:
    if shutil.which("clang++") is None:
        pytest.skip("clang++ is not installed; on Debian: apt-get install clang")
    sources = [SOURCES / "src" / f"{name}.cpp" for name in ("facts", "engine_facts", "json", "sha256")]
    flags = ["-std=c++17", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"]
    defines = ["-DFXSR_LIBFUZZER", "-DFXSR_BUILDING", f"-I{SOURCES / 'include'}", f"-I{SOURCES / 'src'}"]
    program = tmp_path / "fuzz"
    command: list[str | Path] = ["clang++", *flags, *defines, PROGRAMS / "fuzz.cpp", *sources, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    if "libclang_rt" in done.stderr:
        pytest.skip("clang has no libFuzzer; on Debian: apt-get install libclang-rt-dev")
    assert done.returncode == 0, done.stderr
    write_engine(model, tmp_path / "x.plan", KINDS["10"])
    manifest = json.loads((tmp_path / "x.json").read_text())
    for file in (manifest["onnx"], manifest["engines"][0]["file"]):
        file |= {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}  # those of the file that the fuzzer gives
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "manifest").write_text(json.dumps(manifest))
    (tmp_path / "seeds" / "facts").write_text(json.dumps(manifest["model"]))
    # of the process's memory only single blocks are watched: its peak is at first that of the process that started it
    limits = ("-runs=20000", "-max_len=8000", "-seed=1", "-rss_limit_mb=0", "-malloc_limit_mb=64")
    run_program(program, *limits, tmp_path / "seeds")


def test_the_example_for_opencv_compiles(tmp_path: Path) -> None:
    """Against a stand-in for its headers: a cv::Mat with the members that the example uses."""
    build_native()  # skips where there is no compiler
    include = [f"-I{SOURCES / 'include'}", f"-I{PROGRAMS / 'fakeopencv'}"]
    command = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", *include, "-c"]
    subprocess.run([*command, SOURCES / "examples" / "opencv_mat.cpp", "-o", tmp_path / "opencv_mat.o"], check=True)


def test_the_example_for_opencv_upscales(built: Path, model: Path, tmp_path: Path) -> None:
    program = built / "examples" / "opencv_mat"
    if not program.exists():
        pytest.skip("OpenCV is not installed; on Debian: apt-get install libopencv-dev")
    (tmp_path / "in.ppm").write_bytes(b"P6\n20 20\n255\n" + bytes(range(240)) * 5)
    run_program(program, model, tmp_path / "in.ppm", tmp_path / "mat.ppm")
    run_program(built / "examples" / "upscale_ppm", model, tmp_path / "in.ppm", tmp_path / "out.ppm")
    assert (tmp_path / "mat.ppm").read_bytes() == (tmp_path / "out.ppm").read_bytes()


def write_nearest(path: Path) -> None:
    """A model of 8 bits that repeats pixels: as fast as a model can be, so that what is added to it can be measured."""
    scales = numpy_helper.from_array(np.array([1, 4, 4, 1], np.float32), "scales")
    resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        helper.make_node("Resize", ["lr", "", "scales"], ["sr"], **resize),
    ]
    inputs: list[tuple[str, list[str | int | None]]] = [("lr", ["n", "h", "w", 3]), ("t_map", ["n_t", 1, "h_t", "w_t"])]
    graph = helper.make_graph(
        nodes,
        "nearest",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("sr", TensorProto.UINT8, ["n", "4*h", "4*w", 3])],
        [scales],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    facts = model_facts(golden_checkpoint(TINY, 4), GraphOptions(io="uint8"))
    helper.set_model_props(model, {METADATA_KEY: encode_facts(facts)})
    onnx.save(model, path)


def test_what_a_call_costs_beyond_onnx_runtime(plain: Path, tmp_path: Path, figures: list[str]) -> None:
    write_nearest(tmp_path / "nearest.onnx")
    done = run_program(plain / "overhead", tmp_path / "nearest.onnx", "30")
    figures.append(f"libfxsr on 256x256 pixels of 8 bits: {done.stdout.strip()}")
    assert "overhead" in done.stdout
