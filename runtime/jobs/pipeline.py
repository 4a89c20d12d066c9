"""Doing jobs on this machine: while one image is upscaled, the next is decoded and the previous one is encoded.

file -> decode -> belt -> upscale (in the caller's thread, which owns the session) -> belt -> encode -> file
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from fxsr.errors import FxsrError
from fxsr.images.formats import LOSSY
from fxsr.images.reading import open_rows
from fxsr.images.rows import Pixels, Rows, check_pixels
from fxsr.images.writing import check_target, write_rows
from fxsr.runtime.belt import Belt
from fxsr.runtime.jobs.jobs import FAILURES, Done, Failure, Job, RunOptions, job_failure, output_size
from fxsr.runtime.jobs.places import local
from fxsr.runtime.upscale.faithful import LrPsnr
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import StyleMap, StyleRows

_DECODED, _ENCODED = 4, 16
"""Largest number of bands, of some megabytes each, that wait before and after upscaling."""


def run_jobs(
    jobs: Iterable[Job],
    upscaler: Upscaler,
    options: RunOptions,
    begin: Callable[[Job], Progress],
    at_once: int = 2,
) -> Generator[Done | Failure, None, None]:
    """Do jobs, and yield how each ended, in their order. A file that fails is a result; the other jobs are still done.

    The generator must be used in the thread that opened the session. To leave it early, close it in that thread
    (`contextlib.closing`): it waits for its own threads and leaves no incomplete file. Don't leave that to the garbage
    collector, which may run in one of these threads and wait for ever.

    Args:
        jobs: with places on this machine.
        begin: called when the upscaling of a job begins; what it returns is called after each tile.
        at_once: how many images may be in work: decoded, upscaled or encoded.
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


def do_job(job: Job, upscaler: Upscaler, options: RunOptions, progress: Progress) -> Done:
    """Do one job in the calling thread: rows are decoded, upscaled and encoded in turns.

    For callers that already use many threads, where passing rows from thread to thread would only cost time.

    Raises:
        FxsrError: the image or style map can't be read, upscaled or written.
        MemoryError, OSError: see `fxsr.runtime.jobs.jobs.FAILURES`.
    """
    clock = time.perf_counter()
    image = _open(job, options)
    if image is None:
        return Done(job)
    return _write(job, _prepare_output(job, image, upscaler, options, progress), options, clock)


@dataclass(frozen=True)
class _OpenImage:
    """An image that is being read, and its style."""

    rows: Rows
    style: StyleRows


@dataclass(frozen=True)
class _OutputImage:
    """An image that is being upscaled, and how it is to be written."""

    rows: Rows
    size: tuple[int, int]
    """Width and height to write it in."""
    notes: list[str]
    """Notes about upscaling; complete when all bands are taken."""
    fidelity: LrPsnr | None
    """Complete when all bands are taken."""


class _Source:
    """A job whose image is being decoded, in a thread of its own."""

    def __init__(self, job: Job, options: RunOptions, pool: ThreadPoolExecutor) -> None:
        self.job = job
        self.bands: Belt[Pixels] = Belt(_DECODED)
        self.image: Future[_OpenImage | None] = Future()
        """The result of `_open`, with bands that come over the belt."""
        pool.submit(self._decode, options)

    def _decode(self, options: RunOptions) -> None:
        try:
            image = _open(self.job, options)
        except BaseException as error:
            self.image.set_exception(error)
            return
        if image is None:
            self.image.set_result(None)
            return
        self.image.set_result(replace(image, rows=replace(image.rows, bands=iter(self.bands))))
        self.bands.fill(image.rows.bands)


class _Result:
    """A job whose image is being upscaled or encoded."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.bands: Belt[Pixels] = Belt(_ENCODED)
        self.done: Future[Done] = Future()

    def encode(self, output: _OutputImage, options: RunOptions, begin: float) -> None:
        """Write the image while its bands come over the belt."""
        try:
            output = replace(output, rows=replace(output.rows, bands=iter(self.bands)))
            self.done.set_result(_write(self.job, output, options, begin))
        except BaseException as error:
            self.done.set_exception(error)
        finally:
            self.bands.abandon()

    def get(self) -> Done | Failure:
        """How the job ended; waits for it."""
        try:
            return self.done.result()
        except FAILURES as error:
            return job_failure(self.job, error)


def _upscale(
    source: _Source,
    result: _Result,
    upscaler: Upscaler,
    options: RunOptions,
    begin: Callable[[Job], Progress],
    pool: ThreadPoolExecutor,
) -> None:
    """Take bands from one belt and put upscaled ones on the other. Errors end up in the result; what is not an
    `Exception`, such as a request to stop, is raised here as well."""
    progress = begin(source.job)
    clock = time.perf_counter()
    try:
        image = source.image.result()
        if image is None:
            result.done.set_result(Done(source.job))
            return
        output = _prepare_output(source.job, image, upscaler, options, progress)
    except Exception as error:
        result.done.set_exception(error)
        return
    pool.submit(result.encode, output, options, clock)
    result.bands.fill(output.rows.bands)


def _open(job: Job, options: RunOptions) -> _OpenImage | None:
    """The image and its style; None if the job is to be skipped."""
    if options.skip_existing and local(job.target).exists():
        return None
    rows = open_rows(local(job.source), options.max_pixels)
    t_map = job.t_map
    if isinstance(t_map, AutomaticStyle):
        t_map = t_map.read(local(job.source), options.max_pixels)
    elif not isinstance(t_map, StyleMap | None):
        t_map = StyleMap.read(local(t_map), options.max_pixels)
    return _OpenImage(rows, options.style.over(t_map, rows.height, rows.width))


def _prepare_output(
    job: Job, image: _OpenImage, upscaler: Upscaler, options: RunOptions, progress: Progress
) -> _OutputImage:
    """The upscaled image, whose bands are not computed yet; refused if its size can't be written."""
    notes: list[str] = []
    fidelity = None if options.faithful is None else LrPsnr(image.rows, upscaler.scale, options.faithful)
    rows = image.rows if fidelity is None else fidelity.watch_input(image.rows)
    upscaled = upscaler.stream(rows, image.style, progress, notes.append)
    if fidelity is not None:
        upscaled = fidelity.watch_output(upscaled)
    size = output_size(image.rows.width, image.rows.height, options.outscale or upscaler.scale)
    target = local(job.target)
    check_target(target, *size, options.lossless)
    if options.max_pixels is not None:
        check_pixels(target, *size, options.max_pixels * upscaler.scale**2)
    return _OutputImage(upscaled, size, notes, fidelity)


def _write(job: Job, output: _OutputImage, options: RunOptions, begin: float) -> Done:
    lost = write_rows(local(job.target), output.rows, options.quality, output.size, options.lossless)
    notes = [*job.notes, *output.rows.notes, *output.notes, *lost]
    if output.fidelity is None:
        return Done(job, time.perf_counter() - begin, output.size, tuple(notes))
    if output.size != (output.rows.width, output.rows.height):
        notes.append("LR-PSNR was measured before the result was resampled to the size of --outscale")
    if job.target.suffix.lower() in LOSSY and not options.lossless:
        notes.append("LR-PSNR was measured before lossy compression; give --format png for a file that is just so")
    return Done(job, time.perf_counter() - begin, output.size, tuple(notes), output.fidelity.value)
