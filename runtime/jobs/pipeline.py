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
from fxsr.images.reading import open_rows
from fxsr.images.rows import Pixels, Rows, check_pixels
from fxsr.images.writing import check_target, write_rows
from fxsr.runtime.jobs.belt import Belt
from fxsr.runtime.jobs.jobs import Done, Failure, Job, RunOptions, failure, output_size
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.style_map import StyleMap

_DECODED, _ENCODED = 4, 16
"""Bands, of some megabytes each, that may wait before and behind the upscaling."""
_FAILURES = (FxsrError, MemoryError, OSError)
"""After which other jobs can go on."""


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


def do_job(job: Job, upscaler: Upscaler, options: RunOptions, progress: Progress) -> Done | Failure:
    """Do one job in the calling thread, each stage when the next one asks for rows: for those who have many threads at
    work as it is, where handing rows from one to another would only cost."""
    clock = time.perf_counter()
    try:
        opened = _open(job, options)
        if opened is None:
            return Done(job)
        notes: list[str] = []
        enlarged, size = _enlarge(job, *opened, upscaler, options, progress, notes)
        return _write(job, enlarged, options, size, notes, clock)
    except _FAILURES as error:
        return failure(job, error)


class _Source:
    """A job whose image is being decoded in a thread of its own."""

    def __init__(self, job: Job, options: RunOptions, pool: ThreadPoolExecutor) -> None:
        self.job = job
        self.bands: Belt[Pixels] = Belt(_DECODED)
        self.opened: Future[tuple[Rows, StyleMap] | None] = Future()
        """As of `_open`."""
        pool.submit(self._decode, options)

    def _decode(self, options: RunOptions) -> None:
        try:
            opened = _open(self.job, options)
        except BaseException as error:
            self.opened.set_exception(error)
            return
        if opened is None:
            self.opened.set_result(None)
            return
        image, style = opened
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
            self.done.set_result(_write(self.job, replace(image, bands=iter(self.bands)), options, size, notes, begin))
        except BaseException as error:
            self.done.set_exception(error)
        finally:
            self.bands.abandon()

    def get(self) -> Done | Failure:
        """How the job ended; waits for it."""
        try:
            return self.done.result()
        except _FAILURES as error:
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
        enlarged, size = _enlarge(source.job, *opened, upscaler, options, progress, notes)
    except Exception as error:
        result.done.set_exception(error)
        return
    pool.submit(result.encode, enlarged, options, size, notes, clock)
    result.bands.fill(enlarged.bands)


def _open(job: Job, options: RunOptions) -> tuple[Rows, StyleMap] | None:
    """The image and its style; None where the job is to be skipped."""
    if options.skip_existing and job.target.exists():
        return None
    style = StyleMap.uniform(options.t)
    if job.t_map:
        style = StyleMap.read(job.t_map, options.max_pixels).scaled(options.t).ranged(*options.t_range)
    return open_rows(job.source, options.max_pixels), style


def _enlarge(
    job: Job,
    image: Rows,
    style: StyleMap,
    upscaler: Upscaler,
    options: RunOptions,
    progress: Progress,
    notes: list[str],
) -> tuple[Rows, tuple[int, int]]:
    """The upscaled image, and the width and height that it is to be written in; refused if that can't be done."""
    enlarged = upscaler.stream(image, style, progress, notes.append, feather=options.t_feather)
    size = output_size(image.width, image.height, options.outscale or upscaler.scale)
    check_target(job.target, *size)
    if options.max_pixels is not None:
        check_pixels(job.target, *size, options.max_pixels * upscaler.scale**2)
    return enlarged, size


def _write(
    job: Job, enlarged: Rows, options: RunOptions, size: tuple[int, int], notes: list[str], begin: float
) -> Done:
    found = write_rows(job.target, enlarged, options.quality, size)
    return Done(job, time.perf_counter() - begin, size, (*enlarged.notes, *notes, *found))
