"""Jobs: images that are upscaled after their request was answered, and whose results are kept for a while.

Everything lies in the server's folder, which is removed when the process ends.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from fxsr.errors import FxsrError
from fxsr.runtime.serve.backlog import Lane, Piece
from fxsr.runtime.serve.images import UpscaledFile
from fxsr.runtime.serve.pace import TileWork
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import Flow
from fxsr.runtime.serve.service import Service
from fxsr.runtime.session import Closable
from fxsr.runtime.upscale.upscaler import Progress


class JobState(Enum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class JobRequest:
    """An image to upscale."""

    tile_work: TileWork
    """Its model and tiles."""
    folder: TemporaryDirectory[str]
    """Where its files are; removed with the job."""
    work: Callable[[Flow, Progress], UpscaledFile]


class BackgroundJob:
    """A job and its result. `JobQueue` changes it, and holds its lock while it does."""

    def __init__(self, request: JobRequest, piece: Piece, flow: Flow) -> None:
        self.id = secrets.token_urlsafe(16)  # whoever knows it may have the result
        self.request = request
        self.piece = piece
        self.flow = flow
        self.state = JobState.QUEUED
        self.created = time.time()
        self.ended: float | None = None
        self.progress = 0.0
        """Part of its tiles that is done, 0..1."""
        self.result: UpscaledFile | None = None
        self.problem: ProblemError | None = None
        self.bytes = 0
        """Size of its files."""

    @property
    def finished(self) -> bool:
        return self.state in (JobState.DONE, JobState.FAILED)


class JobQueue(Closable):
    """Does jobs one after the other, next to the requests, whose tiles take turns with those of the job.

    Finished jobs are forgotten, the oldest first, when they are older than `Settings.keep_seconds`, or when there would
    be more than `Settings.max_jobs` jobs, or more than `Settings.max_stored` bytes.

    Args:
        service: does the work.
        observe: called when a job has ended, with "done", "failed" or "cancelled" and its seconds since the request.
    """

    def __init__(self, service: Service, observe: Callable[[str, float], None]) -> None:
        self._service = service
        self._settings = service.settings
        self._observe = observe
        self._lock = Lock()
        self._jobs: dict[str, BackgroundJob] = {}
        """By id, the oldest first."""
        self._pool = ThreadPoolExecutor(1, "request-job")
        self._half = service.settings.max_stored // 2
        """Largest size of the images of waiting jobs together, and of one result, so that there is room for both."""

    def count(self, state: JobState) -> int:
        """Number of jobs in a state."""
        with self._lock:
            return sum(job.state is state for job in self._jobs.values())

    @property
    def stored(self) -> int:
        """Size of the files of all jobs, in bytes."""
        with self._lock:
            return self._stored()

    def submit(self, request: JobRequest) -> BackgroundJob:
        """Queue a job.

        Raises:
            ProblemError: too many jobs wait (429), or their files are too large (503).
        """
        flow = self._service.scheduler.flow(request.tile_work.model)
        job = BackgroundJob(request, Piece(Lane.JOBS, request.tile_work, flow), flow)
        job.bytes = _size(Path(request.folder.name))
        try:
            with self._lock:
                self._accept(job)
        except ProblemError:
            request.folder.cleanup()
            raise
        self._service.backlog.add(job.piece)
        self._pool.submit(self._work, job).add_done_callback(lambda future: self._end(job, future))
        return job

    def find(self, name: str) -> BackgroundJob:
        """A job by its id.

        Raises:
            ProblemError: there is none (404).
        """
        with self._lock:
            self._forget_old()
            try:
                return self._jobs[name]
            except KeyError:
                kept = f"{self._settings.keep_seconds / 60:g} minutes"
                detail = f"no such job; results are kept for {kept}, or until newer ones need their place"
                raise ProblemError(HTTPStatus.NOT_FOUND, detail) from None

    def cancel(self, job: BackgroundJob) -> None:
        """Forget a job; what is left of its work is not done."""
        with self._lock:
            if not self._jobs.pop(job.id, None):
                return
        self._service.backlog.remove(job.piece)
        if job.state is not JobState.RUNNING:
            job.request.folder.cleanup()
        if not job.finished:
            job.flow.abandon("the job was cancelled")
            self._observe("cancelled", time.time() - job.created)

    def forget_old(self) -> None:
        """Forget the jobs whose time is over."""
        with self._lock:
            self._forget_old()

    def described(self, job: BackgroundJob) -> dict[str, Any]:
        """A job, for clients."""
        with self._lock:
            waiting = [each for each in self._jobs.values() if not each.finished]
            place = waiting.index(job) if job in waiting else 0
        described: dict[str, Any] = {"id": job.id, "state": job.state.value, "progress": round(job.progress, 4)}
        if not job.finished:
            seconds = self._service.backlog.forecast(job.piece)
            return described | {"place": place, "seconds_left": round(seconds, 1) if seconds else None}
        assert job.ended
        described["expires_in"] = round(max(0.0, job.ended + self._settings.keep_seconds - time.time()))
        if job.problem:
            return described | {"problem": job.problem.fields()}
        return described | {"result": f"/v1/jobs/{job.id}/result"}

    def close(self) -> None:
        """Cancel all jobs, and remove their files."""
        for job in list(self._jobs.values()):
            self.cancel(job)
        self._pool.shutdown()

    def _accept(self, job: BackgroundJob) -> None:
        self._forget_old()
        waiting = [each for each in self._jobs.values() if not each.finished]
        if len(waiting) >= self._settings.max_jobs:
            raise ProblemError.busy(HTTPStatus.TOO_MANY_REQUESTS, f"{len(waiting)} jobs wait already")
        if sum(each.bytes for each in waiting) + job.bytes > self._half:
            raise ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, "the images of waiting jobs leave no room")
        self._make_room(self._settings.max_jobs - 1, self._settings.max_stored - job.bytes)
        self._jobs[job.id] = job

    def _work(self, job: BackgroundJob) -> UpscaledFile | None:
        with self._lock:
            if job.id not in self._jobs:
                return None
            job.state = JobState.RUNNING

        def advance(done: int, total: int) -> None:
            job.progress = done / total

        with self._service.statistics.request(job.request.tile_work.model):
            result = job.request.work(job.flow, advance)
        for path in Path(job.request.folder.name).iterdir():  # what the client sent is not needed any more
            if path != result.file:
                path.unlink()
        return result

    def _end(self, job: BackgroundJob, ended: Future[UpscaledFile | None]) -> None:
        """Keep the result of a job that has ended."""
        self._service.backlog.remove(job.piece)
        error = None if ended.cancelled() else ended.exception()
        with self._lock:
            cancelled = job.id not in self._jobs
            if not cancelled:
                job.ended = time.time()
                job.problem, job.result = _problem(error), None if error else ended.result()
                job.state = JobState.FAILED if job.problem else JobState.DONE
                job.bytes = 0 if job.problem else _size(Path(job.request.folder.name))
                self._jobs[job.id] = self._jobs.pop(job.id)  # the newest result
                if job.bytes > self._half:
                    detail = f"the result has {job.bytes} bytes, more than the {self._half} that are kept"
                    job.problem = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
                    job.state, job.result, job.bytes = JobState.FAILED, None, 0
                self._make_room(self._settings.max_jobs, self._settings.max_stored)
        if cancelled or job.problem:
            job.request.folder.cleanup()
        if not cancelled:
            self._observe(job.state.value, time.time() - job.created)

    def _forget_old(self) -> None:
        oldest = time.time() - self._settings.keep_seconds
        for job in [job for job in self._jobs.values() if job.ended is not None and job.ended < oldest]:
            self._forget(job)

    def _make_room(self, jobs: int, stored: int) -> None:
        """Forget finished jobs, the oldest first, until there are at most so many jobs and bytes."""
        for job in [job for job in self._jobs.values() if job.finished]:
            if len(self._jobs) <= jobs and self._stored() <= stored:
                break
            self._forget(job)

    def _forget(self, job: BackgroundJob) -> None:
        del self._jobs[job.id]
        job.request.folder.cleanup()

    def _stored(self) -> int:
        return sum(job.bytes for job in self._jobs.values())


def _problem(error: BaseException | None) -> ProblemError | None:
    match error:
        case None:
            return None
        case ProblemError():
            return error
        case FxsrError() | MemoryError() | OSError():
            return ProblemError.of(error)
    logging.getLogger("uvicorn.error").error("a job failed", exc_info=error)
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; see its log")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
