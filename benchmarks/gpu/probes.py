"""Group 1 of the hardware report: how fast this GPU multiplies matrices and copies memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from fxsr.benchmarks.gpu.steps import Journal
from fxsr.benchmarks.speed.flops import probe_gemm
from fxsr.errors import UnavailableError
from fxsr.models.manifest import Precision
from fxsr.runtime.device.open import open_device
from fxsr.runtime.device.protocols import Block, DeviceMemory, Stream
from fxsr.runtime.session import Device

_PRECISIONS: dict[str, Precision] = {"fp16": "fp16", "bf16": "bf16", "TF32": "fp32"}
_REPEATS = 3
_COPIES = 7


def measure_gemm(journal: Journal, device: str) -> None:
    """Peak speed of products of large square matrices by torch; see `flops.probe_gemm`.

    Raises:
        UnavailableError: torch can't use the device.
    """
    for name, precision in _PRECISIONS.items():
        rates = [probe_gemm(Device.parse(device), precision) for _ in range(_REPEATS)]
        if None in rates:
            raise UnavailableError(f"torch is absent or can't use {device}")
        found = [rate / 1e12 for rate in rates if rate is not None]
        journal.add_row(name, {"best TFLOP/s": max(found), "median TFLOP/s": statistics.median(found)})


def measure_copies(journal: Journal, device: str, mebibytes: int) -> None:
    """Bandwidth between host and GPU, with pinned and with ordinary ("pageable") host memory, and both ways at once.

    Raises:
        DeviceError: there is no such GPU.
    """
    size = mebibytes << 20
    with open_device(Device.parse(device).index) as memory, memory.current():
        pageable = np.zeros(size, np.uint8)
        pinned = memory.alloc_pinned(size)
        try:
            hosts = {"pinned": pinned, "pageable": Block(pageable.ctypes.data, size, pageable, pageable)}
            for name, rate in copy_rates(memory, hosts, size).items():
                journal.add_row(name, {"GB/s": rate})
        finally:
            memory.free(pinned)


def copy_rates(memory: DeviceMemory, hosts: Mapping[str, Block], size: int) -> dict[str, float]:
    """GB/s of copies of `size` bytes: the median of several, by the host's clock.

    Args:
        memory: the device, which must be current.
        hosts: blocks of host memory by name, of at least `size` bytes each.
        size: bytes per copy.
    """
    device, other = memory.alloc(size), memory.alloc(size)
    try:
        into, out = memory.stream(), memory.stream()
        rates = {}
        for name, host in hosts.items():
            rates[f"to the device, {name}"] = _rate(partial(memory.copy, device, host, size, into), [into], size)
            rates[f"from the device, {name}"] = _rate(partial(memory.copy, host, device, size, out), [out], size)
        name, host = next(iter(hosts.items()))
        half = size // 2

        def both() -> None:
            memory.copy(device, host, half, into)
            memory.copy(Block(host.ptr + half, half, None, host), other, half, out)

        rates[f"both ways at once, {name}"] = _rate(both, [into, out], 2 * half)
        rates["within the device"] = _rate(partial(memory.copy, device, other, size, into), [into], 2 * size)
        return rates
    finally:
        memory.free(device)
        memory.free(other)


def _rate(copy: Callable[[], None], streams: Sequence[Stream], size: int) -> float:
    """GB/s of `copy`, which moves `size` bytes in `streams`."""
    seconds = []
    for _ in range(1 + _COPIES):  # the first warms up
        begin = time.perf_counter()
        copy()
        for stream in streams:
            stream.sync()
        seconds.append(time.perf_counter() - begin)
    return size / statistics.median(seconds[1:]) / 1e9
