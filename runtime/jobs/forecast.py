"""What a run would write and how long it would take: files are opened but not decoded, and a few tiles are timed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable

import numpy as np

from fxsr.images.reading import open_rows
from fxsr.images.rows import Rows
from fxsr.images.writing import check_target
from fxsr.runtime.jobs.jobs import FAILURES, Done, Failure, Forecast, Job, RunOptions, job_failure, output_size
from fxsr.runtime.jobs.places import local
from fxsr.runtime.jobs.videos import request_of
from fxsr.runtime.upscale.batches import Tile, TilePosition, upscale_tiles
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.runtime.video.upscale import examine_video
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import StyleMap


def forecast_jobs(
    jobs: Iterable[Job], upscaler: Upscaler, options: RunOptions
) -> Generator[Done | Forecast | Failure, None, None]:
    """Yield what each job would do. Nothing is written."""
    pace = _Pace(upscaler)
    for job in jobs:
        try:
            yield _forecast(job, upscaler, options, pace)
        except FAILURES as error:
            yield job_failure(job, error)


def _forecast(job: Job, upscaler: Upscaler, options: RunOptions, pace: _Pace) -> Done | Forecast:
    target = local(job.target)
    if options.skip_existing and target.exists():
        return Done(job)
    if job.video is not None:
        return _forecast_video(job, upscaler, options, pace)
    image = open_rows(local(job.source), options.max_pixels)
    size = output_size(image.width, image.height, options.outscale or upscaler.scale)
    check_target(target, *size, options.lossless)
    if not isinstance(job.t_map, StyleMap | AutomaticStyle | None):
        StyleMap.read(local(job.t_map), options.max_pixels)  # to find maps that can't be read
    tiles = upscaler.tile_count(image)
    sides = upscaler.axis_plan(image.height).size, upscaler.axis_plan(image.width).size
    return Forecast(
        job, size, tiles, tiles * pace.seconds(*sides, mapped=job.t_map is not None), (*job.notes, *image.notes)
    )


def _forecast_video(job: Job, upscaler: Upscaler, options: RunOptions, pace: _Pace) -> Forecast:
    facts, picture, notes = examine_video(request_of(job, options), upscaler.scale)
    tiles = facts.frames * upscaler.tile_count(Rows(facts.height, facts.width, 3, np.dtype(np.float32), iter(())))
    sides = upscaler.axis_plan(facts.height).size, upscaler.axis_plan(facts.width).size
    seconds = tiles * pace.seconds(*sides, mapped=job.t_map is not None)
    return Forecast(job, (picture.width, picture.height), tiles, seconds, (*job.notes, *notes))


_PROBED = 64
"""Smallest side of a tile that is timed, in LR pixels."""


class _Pace:
    """Seconds per tile, from a few tiles that are timed."""

    def __init__(self, upscaler: Upscaler) -> None:
        self._session = upscaler.session
        self._rates: dict[bool, float] = {}
        """Seconds per unit of `_area`, with a style map and without."""

    def seconds(self, height: int, width: int, *, mapped: bool) -> float:
        """Seconds for one tile of this size, with a style map or without."""
        if mapped not in self._rates:
            # small tiles take longer for their size than the larger ones of most images
            probed = max(height, _PROBED), max(width, _PROBED)
            self._rates[mapped] = self._time(*probed, mapped) / self._area(*probed)
        return self._rates[mapped] * self._area(height, width)

    def _area(self, height: int, width: int) -> int:
        """What the time is proportional to: the tile's pixels, unless the session takes one size only."""
        return 1 if self._session.info.fixed else height * width

    def _time(self, height: int, width: int, mapped: bool) -> float:
        rng = np.random.default_rng(0)
        lr = rng.random((3, height, width), np.float32)
        t_map = rng.random((1, height, width) if mapped else (1, 1, 1), np.float32)
        batch = [Tile(TilePosition(0, 0, index), lr, t_map) for index in range(self._session.info.batch)]
        begin = time.perf_counter()
        for tiles in (batch, batch):  # the first run warms up
            begin = time.perf_counter()
            for _ in upscale_tiles(self._session, tiles, lambda text: None):
                pass
        return (time.perf_counter() - begin) / len(batch)
