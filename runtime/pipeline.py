"""Doing the jobs of `fxsr run`: while one image is upscaled, the next ones are decoded and the last ones encoded.

file -> decode -> belt -> upscale (in the caller's thread, which is the session's) -> belt -> encode -> file
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from fxsr.errors import FxsrError
from fxsr.image_reading import open_rows
from fxsr.image_writing import check_target, write_rows
from fxsr.rows import Pixels, Rows, check_pixels
from fxsr.runtime.belt import Belt
from fxsr.runtime.jobs import Done, Failure, Job, RunOptions, enlarged_size, failure
from fxsr.runtime.upscaler import Progress, Upscaler
from fxsr.stylemap import StyleMap

_DECODED, _ENCODED = 4, 16
"""Bands, of some megabytes each, that may wait before and behind the upscaling."""


def run_jobs(
    jobs: Iterable[Job],
    upscaler: Upscaler,
    options: RunOptions,
    begin: Callable[[Job], Progress],
    at_once: int = 2,
) -> Generator[Done | Failure, None, None]:
    """Do jobs and say how each ended, in their order. A failure of one file is a result: the others go on.

    Must be gone through in the thread that opened the session. When it is left early, nothing half written stays; close
    it then (`contextlib.closing`): it waits for its threads, and where the garbage collector closes it, in whatever
    thread and at whatever moment, that can be for ever.

    Args:
        begin: called when a job's turn on the session comes; gives what hears of its progress.
        at_once: how many images may be in work, in whatever state.
    """
    with ThreadPoolExecutor(2 * at_once, "image") as pool:
        waiting = iter(jobs)
        sources: deque[_Source] = deque()
        results: deque[_Result] = deque()
        try:
            while True:
                while len(sources) < at_once and (job := next(waiting, None)):
                    sources.append(_Source(job, options, pool))
                if not sources:
                    break
                results.append(_Result(sources[0].job))
                _upscale(sources[0], results[-1], upscaler, options, begin, pool)
                sources.popleft().bands.abandon()
                while len(results) >= at_once:
                    yield results.popleft().get()
            while results:
                yield results.popleft().get()
        finally:
            for source in sources:
                source.bands.abandon()
            for result in results:
                result.bands.end(FxsrError("stopped"))


class _Source:
    """A job whose image is being decoded in a thread of its own."""

    def __init__(self, job: Job, options: RunOptions, pool: ThreadPoolExecutor) -> None:
        self.job = job
        self.bands: Belt[Pixels] = Belt(_DECODED)
        self.opened: Future[tuple[Rows, StyleMap] | None] = Future()
        """The image and its style; None where the job is to be skipped."""
        pool.submit(self._decode, options)

    def _decode(self, options: RunOptions) -> None:
        try:
            if options.skip_existing and self.job.target.exists():
                self.opened.set_result(None)
                return
            style = StyleMap.uniform(options.t)
            if self.job.t_map:
                style = StyleMap.read(self.job.t_map, options.max_pixels).scaled(options.t).ranged(*options.t_range)
            image = open_rows(self.job.source, options.max_pixels)
        except BaseException as error:
            self.opened.set_exception(error)
            return
        self.opened.set_result((replace(image, bands=iter(self.bands)), style))
        self.bands.fill(image.bands)


class _Result:
    """A job whose image is being upscaled or encoded."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.bands: Belt[Pixels] = Belt(_ENCODED)
        self.done: Future[Done] = Future()

    def encode(self, image: Rows, options: RunOptions, size: tuple[int, int], notes: list[str], begin: float) -> None:
        """Write the image while it comes over the belt."""
        try:
            found = write_rows(self.job.target, replace(image, bands=iter(self.bands)), options.quality, size)
            self.done.set_result(Done(self.job, time.perf_counter() - begin, size, (*image.notes, *notes, *found)))
        except BaseException as error:
            self.done.set_exception(error)
        finally:
            self.bands.abandon()

    def get(self) -> Done | Failure:
        """How the job ended; waits for it."""
        try:
            return self.done.result()
        except (FxsrError, MemoryError, OSError) as error:
            return failure(self.job, error)


def _upscale(
    source: _Source,
    result: _Result,
    upscaler: Upscaler,
    options: RunOptions,
    begin: Callable[[Job], Progress],
    pool: ThreadPoolExecutor,
) -> None:
    """From one belt to the other. What goes wrong is in the result; what stops the run is raised as well."""
    progress = begin(source.job)
    clock = time.perf_counter()
    try:
        opened = source.opened.result()
        if opened is None:
            result.done.set_result(Done(source.job))
            return
        notes: list[str] = []
        image, style = opened
        enlarged = upscaler.stream(image, style, progress, notes.append, feather=options.t_feather)
        size = enlarged_size(image.width, image.height, options.outscale or upscaler.scale)
        check_target(source.job.target, *size)
        if options.max_pixels is not None:
            check_pixels(source.job.target, *size, options.max_pixels * upscaler.scale**2)
    except Exception as error:
        result.done.set_exception(error)
        return
    pool.submit(result.encode, enlarged, options, size, notes, clock)
    result.bands.fill(enlarged.bands)
