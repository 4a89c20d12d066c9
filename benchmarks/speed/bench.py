"""How long a session takes, on which work, and what that says: warm-up, runs, statistics, memory.

Sides that are compared take turns, each in a process of its own: see `fxsr.benchmarks.speed.interleave`.
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
from fxsr.runtime.session import Array, Session
from fxsr.runtime.timing import Timing
from fxsr.styles.style_map import DEFAULT_T, StyleMap

WINDOW = 0.1
"""Seconds of runs, one at least, whose median is looked at while warming up."""
WINDOWS = 3
"""Stable is when the medians of so many windows in a row are alike."""
ALIKE = 0.02
"""Largest difference between them, as a share of the smallest."""
LEAST_WARM_UP, MOST_WARM_UP = 0.5, 5.0
"""Seconds."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Workload:
    """What a session is timed on: a batch of random images, and style for them.

    Raises:
        UsageError: a value is out of range.
    """

    height: int
    """Of an LR image."""
    width: int
    batch: int = 1
    t: float | None = DEFAULT_T
    """One style for all pixels. None: a random one for each."""
    full_map: bool = False
    """Give one style as a full map too, not as 1x1: the only form that the authors' code takes."""

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
        return self.batch, 3, self.height, self.width

    @property
    def t_shape(self) -> tuple[int, int, int, int]:
        if self.t is None:
            return self.batch, 1, self.height, self.width
        return (1, 1, self.height, self.width) if self.full_map else (1, 1, 1, 1)

    def arrays(self, dtype: np.dtype[np.floating]) -> tuple[Array, Array]:
        """`lr` and `t_map`, the same ones every time."""
        rng = np.random.default_rng(0)
        lr = rng.random(self.lr_shape, np.float32)
        t_map = rng.random(self.t_shape, np.float32) if self.t is None else np.full(self.t_shape, self.t)
        return lr.astype(dtype), t_map.astype(dtype)


@dataclass(frozen=True)
class WarmUp:
    """What it took until runs were alike."""

    runs: int
    seconds: float
    stable: bool
    """False: they never were; the machine is busy, or its clock changes."""


@dataclass(frozen=True)
class Stats:
    """Seconds over runs. Percentiles lie between runs where they must, by straight lines."""

    median: float
    p90: float
    p99: float
    min: float
    spread: float
    """From the first quartile to the third, as a share of the median."""


@dataclass(frozen=True)
class PeakMemory:
    """The most that was taken, in bytes. None: not known."""

    host: int | None
    """Resident, by the whole process: interpreter, libraries, model and all."""
    device: int | None
    """By the session."""


class Bench:
    """A session under measurement. `begin` comes first; the session stays the caller's to close."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._inputs: tuple[Array, Array] | None = None

    def begin(self, workload: Workload) -> None:
        """Take up a workload, and run it once: that may allocate, compile and fail.

        Raises:
            FxsrError: the session can't run it.
        """
        try:
            self._inputs = workload.arrays(self.session.info.dtype)
            self.session.run(*self._inputs)
        except MemoryError as error:
            size = f"{workload.height}x{workload.width}"
            raise OutOfMemoryError(f"too little memory for {size} in batches of {workload.batch}") from error

    def warm_up(self, most: float = MOST_WARM_UP) -> WarmUp:
        """Until runs are alike, or for `most` seconds."""
        return warm_up(lambda: self.session.measure(*self._work), LEAST_WARM_UP, most)

    def sample(self, seconds: float, runs: int) -> list[Timing]:
        """Runs one by one, at least so many and for at least so long."""
        return sample(lambda: self.session.measure(*self._work), seconds, runs)

    def stream_rate(self, seconds: float) -> float | None:
        """Batches per second when several may be under way at once, copies beneath work. None: on a CPU none are."""
        if self.session.info.device.is_cpu:
            return None
        begin = time.perf_counter()

        def batches() -> Iterator[tuple[Array, Array]]:
            while time.perf_counter() - begin < seconds:
                yield self._work

        count = sum(1 for _ in self.session.stream(batches()))
        return count / (time.perf_counter() - begin)

    def memory(self) -> PeakMemory:
        """Up to now."""
        return PeakMemory(peak_host_bytes(), self.session.device_memory())

    def profile(self) -> list[tuple[str, float]]:
        """Layers and their seconds, the slowest first.

        Raises:
            UsageError: the session does not tell.
        """
        return sorted(self.session.profile_layers(*self._work), key=lambda layer: -layer[1])

    def macs(self, model: ModelFile) -> int:
        """Multiplications with addition that `model`, the session's file, does on the workload. Raises as
        `fxsr.benchmarks.speed.flops.count_macs` does."""
        lr, t_map = self._work
        return count_macs(model, lr.shape, t_map.shape)

    def peak(self) -> float | None:
        """FLOP/s that a matrix product reaches on the session's device; see `flops.probe_gemm`."""
        return probe_gemm(self.session.info.device, self.session.info.precision)

    @property
    def _work(self) -> tuple[Array, Array]:
        if self._inputs is None:
            raise UsageError("`begin` a workload first")
        return self._inputs


def warm_up(
    run: Callable[[], object],
    least: float = LEAST_WARM_UP,
    most: float = MOST_WARM_UP,
    clock: Clock = time.perf_counter,
) -> WarmUp:
    """Run until runs take the same time.

    Args:
        run: does one.
        least: seconds to go on for, stable or not.
        most: seconds to give up after.
        clock: in seconds.
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
        stable = len(last) == WINDOWS and max(last) <= (1 + ALIKE) * min(last)
        if taken >= most or (stable and taken >= least):
            return WarmUp(runs, taken, stable)


def sample(run: Callable[[], Timing], seconds: float, runs: int, clock: Clock = time.perf_counter) -> list[Timing]:
    """What `run` reports, at least `runs` times and for at least `seconds`."""
    begin = clock()
    timings: list[Timing] = []
    while len(timings) < runs or clock() - begin < seconds:
        timings.append(run())
    return timings


def summarise(seconds: Sequence[float]) -> Stats:
    """Statistics of one run or more."""
    low, median, high, p90, p99 = (float(value) for value in np.percentile(seconds, (25, 50, 75, 90, 99)))
    return Stats(median, p90, p99, min(seconds), (high - low) / median if median else 0.0)


def part_stats(timings: Sequence[Timing], part: str) -> Stats | None:
    """Statistics of one field of `Timing`; None where it was not measured."""
    values = [getattr(timing, part) for timing in timings]
    return None if None in values else summarise(values)


def peak_host_bytes() -> int | None:
    """Most memory that this process had resident. Linux says it of the process itself; what `getrusage` says there is
    inherited from the parent."""
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
