"""Arrays of other libraries: which of their protocols is taken, and what it is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fxsr.errors import UsageError
from fxsr.runtime.device.arrays import view_array

GPU: Any = SimpleNamespace(name="cuda:0", dlpack_device=(2, 0))
STREAM: Any = SimpleNamespace(handle=77)


class Tensor:
    """As torch's: by `__cuda_array_interface__` it does not say on which stream it is still being written."""

    requires_grad = False

    def __init__(self) -> None:
        self.values = np.arange(6, dtype=np.float32).reshape(2, 3)
        self.asked: list[int] = []

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise AssertionError("the other protocol says more")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        self.asked.append(stream)
        return self.values.__dlpack__()


def by_interface(read_only: bool) -> Any:
    found = {"data": (4096, read_only), "shape": (2, 3), "typestr": "<f4", "version": 3, "stream": 77}
    return SimpleNamespace(__cuda_array_interface__=found)


def test_an_owner_is_told_of_the_stream() -> None:
    tensor = Tensor()
    found = view_array(tensor, "lr", GPU, STREAM)
    assert (found.shape, found.dtype) == ((2, 3), np.dtype(np.float32))
    assert found.ptr == tensor.values.ctypes.data
    default: Any = SimpleNamespace(handle=0)
    view_array(tensor, "lr", GPU, default)
    assert tensor.asked == [77, 1]


def test_an_owner_that_refuses_is_quoted() -> None:
    tensor = Tensor()
    tensor.requires_grad = True
    with pytest.raises(UsageError, match=r"lr can't be used in place \(Can't export tensors that require gradient"):
        view_array(tensor, "lr", GPU, STREAM)


def test_what_must_not_be_written_to_is_not() -> None:
    assert view_array(by_interface(read_only=False), "out", GPU, STREAM, written=True).ptr == 4096
    assert view_array(by_interface(read_only=True), "lr", GPU, STREAM).ptr == 4096
    with pytest.raises(UsageError, match="out is read-only"):
        view_array(by_interface(read_only=True), "out", GPU, STREAM, written=True)
