"""`--tile auto`: from an engine's profiles, or from the memory that is free."""

from __future__ import annotations

import numpy as np
import pytest

from fxsr.runtime.session import CPU, Device, SessionInfo
from fxsr.runtime.upscale.auto_tile import auto_tile, free_memory
from tests.hostdevice import HostMemory

PLAIN = SessionInfo("a", 4, np.dtype(np.float32), "test", CPU)
GB = 10**9


def test_more_memory_gives_larger_tiles() -> None:
    sides = [auto_tile(PLAIN, free) for free in (GB // 10, GB, 4 * GB, 16 * GB, 100 * GB)]
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (64, 1024)


def test_half_precision_and_small_batches_take_less() -> None:
    half = SessionInfo("a", 4, np.dtype(np.float16), "test", CPU)
    many = SessionInfo("a", 4, np.dtype(np.float32), "test", CPU, batch=8)
    assert auto_tile(many, 8 * GB) < auto_tile(PLAIN, 8 * GB) < auto_tile(half, 8 * GB)


def test_an_engine_says_what_it_takes() -> None:
    assert auto_tile(SessionInfo("a", 4, np.dtype(np.float32), "test", Device("cuda"), tile=(320, 256)), None) == 256


def test_without_knowing_the_memory_it_is_the_default() -> None:
    assert auto_tile(PLAIN, None) == 256


def test_the_memory_of_this_machine_is_known_or_said_not_to_be() -> None:
    free = free_memory(CPU)
    assert free is None or 0 < free < 2**50


def test_what_is_free_on_a_gpu_is_asked_of_that_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def open_one(index: int) -> HostMemory:
        asked.append(index)
        return HostMemory(limit=123)

    monkeypatch.setattr("fxsr.runtime.upscale.auto_tile.open_device", open_one)
    assert free_memory(Device("cuda", 1)) == 123
    assert asked == [1]
