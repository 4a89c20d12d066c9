"""`run_device`: arrays of others, on the caller's stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.errors import DeviceError, UsageError
from tests.hostdevice import HostMemory
from tests.rig import Rig, batch, make_rig

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_nothing_is_done_before_the_stream_comes_so_far(rig: Rig) -> None:
    lr, t_map = batch()
    session = rig.session()
    memory = rig.memory
    theirs = memory.array(lr), memory.array(t_map), memory.array(np.zeros((1, 3, 48, 64), np.float32))
    session.run_device(*theirs, stream=77)
    assert not theirs[2].any()
    memory.streams[77].sync()
    assert np.array_equal(theirs[2], rig.expected(lr, t_map))


def test_it_may_alternate_with_host_arrays(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory(restless=True))
    session, memory = rig.session(), rig.memory
    out = memory.array(np.zeros((1, 3, 48, 64), np.float32))
    for index in range(4):
        lr, t_map = batch()
        session.run_device(memory.array(lr), memory.array(t_map), out, stream=70 + index % 2)
        other = batch()
        assert np.array_equal(session.run(*other), rig.expected(*other))
        memory.streams[70 + index % 2].sync()
        assert np.array_equal(out, rig.expected(lr, t_map))


def test_it_waits_for_what_is_under_way(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory(restless=True))
    session, memory = rig.session(), rig.memory
    out = memory.array(np.zeros((1, 3, 48, 64), np.float32))
    lr, t_map = batch()
    batches = [batch() for _ in range(6)]
    for index, sr in enumerate(session.stream(batches)):
        session.run_device(memory.array(lr), memory.array(t_map), out, stream=70)
        assert np.array_equal(sr, rig.expected(*batches[index]))
        memory.streams[70].sync()
        assert np.array_equal(out, rig.expected(lr, t_map))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lr": np.zeros((1, 3, 12, 16), np.float16)}, UsageError, "lr is float16; this model takes float32"),
        ({"lr": np.zeros((3, 12, 16), np.float32)}, UsageError, r"lr has the shape \(3, 12, 16\)"),
        ({"lr": np.zeros((1, 3, 12, 32), np.float32)[..., ::2]}, UsageError, "lr of shape .* is not contiguous"),
        ({"lr": [1, 2]}, UsageError, "lr is a list; give an array with __dlpack__"),
        ({"t_map": None}, UsageError, "t_map is a NoneType"),
        (
            {"out": np.zeros((1, 3, 48, 60), np.float32)},
            UsageError,
            r"out has the shape .* must be \(1, 3, 48, 64\)",
        ),
        ({"lr": np.zeros((1, 3, 64, 16), np.float32)}, UsageError, "tile 64 exceeds 16"),
        (
            {"t_map": np.zeros((1, 1, 9, 9), np.float32)},
            UsageError,
            r"does not take lr \(1, 3, 12, 16\), t_map \(1, 1, 9, 9\) together \(dimensions not compatible",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: Any, error: type[Exception], message: str, rig: Rig) -> None:
    given = {
        "lr": np.zeros((1, 3, 12, 16), np.float32),
        "t_map": np.zeros((1, 1, 1, 1), np.float32),
        "out": np.zeros((1, 3, 48, 64), np.float32),
    }
    with rig.session() as session, pytest.raises(error, match=message):
        session.run_device(**given | change)


def test_an_array_on_a_gpu_is_not_taken_for_one_of_the_host(rig: Rig) -> None:
    class OnGpu:
        __cuda_array_interface__ = {"data": (1, False), "shape": (1,), "typestr": "<f4", "version": 3}  # noqa: RUF012

    class ByDlpack:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 1

        def __dlpack__(self, **options: Any) -> None:
            raise AssertionError

    with rig.session() as session:
        with pytest.raises(DeviceError, match="lr is on a GPU; this session runs on host"):
            session.run_device(OnGpu(), None, None)
        with pytest.raises(DeviceError, match="lr is on cuda:1; this session runs on host"):
            session.run_device(ByDlpack(), None, None)
