"""Measures one session on a workload: warm-up, runs, statistics, memory.

Sessions that are compared run in turns, each in a process of its own: see `fxsr.benchmarks.speed.interleave`.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fxsr.benchmarks.speed.flops import count_macs, probe_gemm
from fxsr.errors import OutOfMemoryError, StyleError, UsageError
from fxsr.models.file import ModelFile
from fxsr.runtime.machine.memory import available_memory
from fxsr.runtime.session import Array, Session
from fxsr.runtime.timing import Timing
from fxsr.styles.style_map import DEFAULT_T, StyleMap

WINDOW = 0.1
"""Seconds of runs, one run at least, over which warm-up takes a median."""
WINDOWS = 3
"""Number of successive windows whose medians must be close for runs to count as stable."""
TOLERANCE = 0.02
"""Largest difference between these medians, relative to the smallest."""
MIN_WARM_UP, MAX_WARM_UP = 0.5, 5.0
"""Default limits of the warm-up, in seconds."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Workload:
    """What a session is measured on: a batch of random images, and their style.

    Raises:
        UsageError: a value is out of range.
    """

    height: int
    """Height of an LR image."""
    width: int
    batch: int = 1
    t: float | None = DEFAULT_T
    """One style for all pixels. None: a random style for each pixel."""
    full_map: bool = False
    """Give a single style as a full map, not as 1x1. The authors' code takes no other form."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise UsageError(f"size {self.height}x{self.width}: both sides must be 1 or more")
        if self.batch < 1:
            raise UsageError(f"batch is {self.batch}; it must be 1 or more")
        if self.t is not None:
            try:
                StyleMap.uniform(self.t)
            except StyleError as error:
                raise UsageError(str(error)) from error

    @property
    def lr_shape(self) -> tuple[int, int, int, int]:
        """Shape of `lr`."""
        return self.batch, 3, self.height, self.width

    @property
    def t_shape(self) -> tuple[int, int, int, int]:
        """Shape of `t_map`."""
        if self.t is None:
            return self.batch, 1, self.height, self.width
        return (1, 1, self.height, self.width) if self.full_map else (1, 1, 1, 1)

    def arrays(self, dtype: np.dtype[np.floating]) -> tuple[Array, Array]:
        """`lr` and `t_map`. They are the same at every call."""
        rng = np.random.default_rng(0)
        lr = rng.random(self.lr_shape, np.float32)
        t_map = rng.random(self.t_shape, np.float32) if self.t is None else np.full(self.t_shape, self.t)
        return lr.astype(dtype), t_map.astype(dtype)


@dataclass(frozen=True)
class WarmUp:
    """The warm-up until run times were stable."""

    runs: int
    seconds: float
    stable: bool
    """False: they never became stable. The machine is busy, or its clock frequency changes."""


@dataclass(frozen=True)
class Stats:
    """Statistics of run times, in seconds. Percentiles are interpolated linearly between runs."""

    median: float
    p90: float
    p99: float
    min: float
    spread: float
    """Distance from the first quartile to the third, relative to the median."""


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory in bytes. None: unknown."""

    host: int | None
    """Resident memory of the whole process: interpreter, libraries, model and buffers."""
    device: int | None
    """Device memory of the session."""


class Bench:
    """Measures a session. Call `begin` first. The caller closes the session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._inputs: tuple[Array, Array] | None = None

    def begin(self, workload: Workload) -> None:
        """Set the workload, and run it once, which may allocate memory, compile kernels, or fail.

        Raises:
            FxsrError: the session can't run it.
        """
        try:
            self._check_memory(workload)
            self._inputs = workload.arrays(self.session.info.dtype)
            self.session.run(*self._inputs)
        except MemoryError as error:
            size = f"{workload.height}x{workload.width}"
            raise OutOfMemoryError(f"too little memory for {size} in batches of {workload.batch}") from error

    def _check_memory(self, workload: Workload) -> None:
        """Raise MemoryError if the images can't fit, before the system begins to end other programs."""
        pixels = workload.batch * workload.height * workload.width
        need = 3 * pixels * (4 + self.session.info.dtype.itemsize * (1 + self.session.info.scale**2))
        free = available_memory()
        if free is not None and need > free:
            raise MemoryError

    def warm_up(self, most: float = MAX_WARM_UP) -> WarmUp:
        """Run until run times are stable, or for `most` seconds."""
        return warm_up(lambda: self.session.measure(*self._arrays), MIN_WARM_UP, most)

    def sample(self, seconds: float, runs: int) -> list[Timing]:
        """Time runs one after the other: at least `runs`, for at least `seconds`."""
        return sample(lambda: self.session.measure(*self._arrays), seconds, runs)

    def stream_rate(self, seconds: float) -> float | None:
        """Batches per second with several in flight, so that copies overlap with computation. None on a CPU."""
        if self.session.info.device.is_cpu:
            return None
        begin = time.perf_counter()

        def batches() -> Iterator[tuple[Array, Array]]:
            while time.perf_counter() - begin < seconds:
                yield self._arrays

        count = sum(1 for _ in self.session.stream(batches()))
        return count / (time.perf_counter() - begin)

    def memory(self) -> PeakMemory:
        """Peak memory so far."""
        return PeakMemory(peak_host_bytes(), self.session.device_memory())

    def profile(self) -> list[tuple[str, float]]:
        """Layers and their seconds, the slowest first.

        Raises:
            UsageError: the session does not on_step.
        """
        return sorted(self.session.profile_layers(*self._arrays), key=lambda layer: -layer[1])

    def macs(self, model: ModelFile) -> int:
        """Multiply-accumulate operations that `model`, the session's file, needs for the workload. Raises what
        `fxsr.benchmarks.speed.flops.count_macs` raises."""
        lr, t_map = self._arrays
        return count_macs(model, lr.shape, t_map.shape)

    def peak(self) -> float | None:
        """Peak FLOP/s of the session's device; see `flops.probe_gemm`."""
        return probe_gemm(self.session.info.device, self.session.info.precision)

    @property
    def _arrays(self) -> tuple[Array, Array]:
        if self._inputs is None:
            raise UsageError("call `begin` with a workload first")
        return self._inputs


def warm_up(
    run: Callable[[], object],
    least: float = MIN_WARM_UP,
    most: float = MAX_WARM_UP,
    clock: Clock = time.perf_counter,
) -> WarmUp:
    """Run until run times are stable.

    Args:
        run: does one run.
        least: run for at least this many seconds.
        most: give up after this many seconds.
        clock: the time in seconds.
    """
    begin = clock()
    medians: list[float] = []
    runs = 0
    while True:
        window: list[float] = []
        while sum(window) < WINDOW:
            start = clock()
            run()
            window.append(clock() - start)
        runs += len(window)
        medians.append(statistics.median(window))
        last, taken = medians[-WINDOWS:], clock() - begin
        stable = len(last) == WINDOWS and max(last) <= (1 + TOLERANCE) * min(last)
        if taken >= most or (stable and taken >= least):
            return WarmUp(runs, taken, stable)


def sample(run: Callable[[], Timing], seconds: float, runs: int, clock: Clock = time.perf_counter) -> list[Timing]:
    """Call `run` at least `runs` times, for at least `seconds`, and return what it reports."""
    begin = clock()
    timings: list[Timing] = []
    while len(timings) < runs or clock() - begin < seconds:
        timings.append(run())
    return timings


def summarise(seconds: Sequence[float]) -> Stats:
    """Statistics of the times of one or more runs."""
    low, median, high, p90, p99 = (float(value) for value in np.percentile(seconds, (25, 50, 75, 90, 99)))
    return Stats(median, p90, p99, min(seconds), (high - low) / median if median else 0.0)


def part_stats(timings: Sequence[Timing], part: str) -> Stats | None:
    """Statistics of one field of `Timing`. None: it was not measured."""
    values = [getattr(timing, part) for timing in timings]
    return None if None in values else summarise(values)


def peak_host_bytes() -> int | None:
    """Peak resident memory of this process, in bytes. None: unknown.

    Linux reports it in /proc; the value of `getrusage` is inherited from the parent there."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
