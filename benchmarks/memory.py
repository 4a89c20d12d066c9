"""Measures the peak memory of `fxsr run` without a model: decoding, tiling, blending and encoding a synthetic image."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fxsr.benchmarks.speed.bench import peak_host_bytes
from fxsr.errors import FxsrError
from fxsr.images.rows import Pixels, Rows
from fxsr.images.writing import write_rows
from fxsr.runtime.jobs.jobs import Failure, Job, RunOptions
from fxsr.runtime.jobs.pipeline import run_jobs
from fxsr.runtime.session import CPU, Array, Session, SessionInfo
from fxsr.runtime.upscale.upscaler import Progress, Upscaler


@dataclass(frozen=True)
class MemoryUse:
    """Memory and time that upscaling one image took."""

    height: int
    width: int
    suffix: str
    start_mb: float
    """Peak resident memory of the process before the run."""
    peak_mb: float
    """Peak resident memory after the run."""
    seconds: float
    output_mb: float


class _Nearest(Session):
    """Repeats pixels. It has the output size of a model of scale 4, but needs no memory."""

    @property
    def info(self) -> SessionInfo:
        return SessionInfo("nearest", 4, np.dtype(np.float32), "none", CPU)

    def run(self, lr: Array, t_map: Array) -> Array:
        return lr.repeat(4, 2).repeat(4, 3)

    def close(self) -> None:
        """Do nothing, since no resource is held."""


def measure_memory(height: int, width: int, suffix: str) -> MemoryUse:
    """Upscale a synthetic RGB image by 4, from file to file, and measure this process's peak memory.

    Args:
        height: of the input, in pixels.
        width: of the input, in pixels.
        suffix: ending of input and output files, such as ".png".

    Raises:
        FxsrError: upscaling failed.
    """
    with TemporaryDirectory(prefix="fxsr-") as folder:
        source, target = Path(folder, f"in{suffix}"), Path(folder, f"out{suffix}")
        write_rows(source, Rows(height, width, 3, np.dtype(np.uint8), _bands(height, width)))
        start = _peak()
        begin = time.perf_counter()
        with closing(run_jobs([Job(source, target)], Upscaler(_Nearest()), RunOptions(), _silent)) as results:
            (result,) = results
            if isinstance(result, Failure):
                raise FxsrError(result.reason)
        seconds = time.perf_counter() - begin
        return MemoryUse(height, width, suffix, start, _peak(), seconds, target.stat().st_size / 1e6)


def _bands(height: int, width: int) -> Iterator[Pixels]:
    grain = np.random.default_rng(0).integers(0, 16, (64, width, 3), np.uint8) * 16
    for top in range(0, height, 64):
        yield np.roll(grain, top, 1)[: height - top]


def _silent(job: Job) -> Progress:
    return lambda done, total: None


def _peak() -> float:
    return (peak_host_bytes() or 0) / 1e6
