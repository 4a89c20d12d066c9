"""What a run would write and how long it would take: files are opened but not decoded, and some tiles are timed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fxsr.errors import FxsrError
from fxsr.images.reading import open_rows
from fxsr.images.writing import check_target
from fxsr.runtime.jobs.jobs import Done, Failure, Job, RunOptions, failure, output_size
from fxsr.runtime.upscale.batches import Tile, TilePosition, upscale_tiles
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.runtime.upscale.upscaling import layers
from fxsr.styles.style_map import StyleMap


@dataclass(frozen=True)
class Forecast:
    """What a job would do."""

    job: Job
    size: tuple[int, int]
    """Width and height of what would be written."""
    tiles: int
    """Of colour and, where there is alpha, of alpha; less where that is the same all over."""
    seconds: float
    """Estimated time of the session's work: the larger part, mostly."""
    notes: tuple[str, ...] = ()


def forecast_jobs(jobs: Iterable[Job], upscaler: Upscaler, options: RunOptions) -> Iterator[Done | Forecast | Failure]:
    """What each job would come to. Nothing is written."""
    pace = _Pace(upscaler)
    for job in jobs:
        try:
            yield _forecast(job, upscaler, options, pace)
        except (FxsrError, MemoryError, OSError) as error:
            yield failure(job, error)


def _forecast(job: Job, upscaler: Upscaler, options: RunOptions, pace: _Pace) -> Done | Forecast:
    if options.skip_existing and job.target.exists():
        return Done(job)
    image = open_rows(job.source)
    size = output_size(image.width, image.height, options.outscale or upscaler.scale)
    check_target(job.target, *size)
    if job.t_map:
        StyleMap.read(job.t_map, options.max_pixels)
    rows, columns = upscaler.plan(image.height), upscaler.plan(image.width)
    tiles = len(rows.starts) * len(columns.starts) * layers(image.channels)
    seconds = tiles * pace.seconds(rows.size, columns.size, mapped=job.t_map is not None)
    return Forecast(job, size, tiles, seconds, image.notes)


_PROBED = 64
"""Least side of a tile that is tried."""


class _Pace:
    """How long a tile takes, by a few that are tried."""

    def __init__(self, upscaler: Upscaler) -> None:
        self._session = upscaler.session
        self._rates: dict[bool, float] = {}

    def seconds(self, height: int, width: int, *, mapped: bool) -> float:
        """Of one tile; in proportion to its area, unless the session takes one size only."""
        if mapped not in self._rates:
            # small ones take longer for their size than most of what is to come
            probed = max(height, _PROBED), max(width, _PROBED)
            self._rates[mapped] = self._time(*probed, mapped) / self._area(*probed)
        return self._rates[mapped] * self._area(height, width)

    def _area(self, height: int, width: int) -> int:
        return 1 if self._session.info.fixed else height * width

    def _time(self, height: int, width: int, mapped: bool) -> float:
        rng = np.random.default_rng(0)
        lr = rng.random((3, height, width), np.float32)
        t_map = rng.random((1, height, width) if mapped else (1, 1, 1), np.float32)
        batch = [Tile(TilePosition(0, 0, index), lr, t_map) for index in range(self._session.info.batch)]
        begin = time.perf_counter()
        for tiles in (batch, batch):  # the first warms up
            begin = time.perf_counter()
            for _ in upscale_tiles(self._session, tiles, lambda text: None):
                pass
        return (time.perf_counter() - begin) / len(batch)
