"""What tests on a GPU need, and what happens where it is missing: a skip, or a failure if FXSR_REQUIRE names it.

`FXSR_REQUIRE=cuda,onnxruntime,tensorrt pytest tests/gpu` fails where one of these parts can't be used, so that a green
run means something.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, NoReturn

import pytest

PARTS = {
    "cuda": "an NVIDIA GPU with its driver, and torch on it",
    "cupy": "CuPy, whose kernels the tests of the device layer compile",
    "onnxruntime": "ONNX Runtime's CUDA provider",
    "tensorrt": "TensorRT, building for and running on this GPU",
    "tensorrt-rtx": "TensorRT-RTX, running on this GPU",
    "streams": "streams and graphs of other libraries, which PyCUDA does not take",
}
"""What FXSR_REQUIRE can name."""


def required_parts() -> frozenset[str]:
    """The parts that FXSR_REQUIRE names.

    Raises:
        pytest.UsageError: one of them does not exist.
    """
    found = frozenset(filter(None, os.environ.get("FXSR_REQUIRE", "").split(",")))
    if unknown := sorted(found - PARTS.keys()):
        raise pytest.UsageError(f"FXSR_REQUIRE names {unknown[0]!r}; it must be some of {', '.join(PARTS)}")
    return found


def missing(part: str, reason: str) -> NoReturn:
    """Skip the test because a part is missing; fail if that part is required."""
    assert part in PARTS
    text = f"{part}: {' '.join(reason.split())}"
    if part in required_parts():
        pytest.fail(f"required by FXSR_REQUIRE, but missing: {text}", pytrace=False)
    pytest.skip(text)


def import_or_skip(name: str, part: str) -> Any:
    """A module, which is part of `part`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing(part, str(error))
