"""The C library under sanitizers: allocations that fail, damaged files, and threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native import PROGRAMS, build_native, run_program

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
    (tmp_path / "suppressions").write_text("called_from_lib:libonnxruntime\nrace:libonnxruntime\n")
    options = f"halt_on_error=1:suppressions={tmp_path / 'suppressions'}"
    done = run_program(folder / "threads", model, TSAN_OPTIONS=options)
    assert done.stdout == "all threads got the same pixels\n"
