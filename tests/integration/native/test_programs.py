"""The C library under sanitizers: allocations that fail, damaged files, and threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.models.manifest import METADATA_KEY, encode_facts
from tests.native import PROGRAMS, build_native, run_program
from tests.support import TINY, golden_checkpoint

_ADDRESS = {
    "ASAN_OPTIONS": "alloc_dealloc_mismatch=0:detect_leaks=1:allocator_may_return_null=1",  # faults.cpp replaces `new`
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs with AddressSanitizer, which finds leaks too, and UndefinedBehaviorSanitizer."""
    return build_native(
        PROGRAMS, FXSR_SANITIZE="address,undefined", PROGRAMS="faults;fuzz", CMAKE_BUILD_TYPE="RelWithDebInfo"
    )


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
    folder = build_native(PROGRAMS, FXSR_SANITIZE="thread", PROGRAMS="threads", CMAKE_BUILD_TYPE="RelWithDebInfo")
    (tmp_path / "suppressions").write_text("mutex:libonnxruntime\nrace:libonnxruntime\n")
    options = f"halt_on_error=1:suppressions={tmp_path / 'suppressions'}"
    done = run_program(folder / "threads", model, TSAN_OPTIONS=options)
    assert done.stdout == "all threads got the same pixels\n"


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


def test_what_a_call_costs_beyond_onnx_runtime(tmp_path: Path, figures: list[str]) -> None:
    folder = build_native(PROGRAMS, PROGRAMS="overhead", CMAKE_BUILD_TYPE="Release")
    write_nearest(tmp_path / "nearest.onnx")
    done = run_program(folder / "overhead", tmp_path / "nearest.onnx", "30")
    figures.append(f"libfxsr on 256x256 pixels of 8 bits: {done.stdout.strip()}")
    assert "overhead" in done.stdout
