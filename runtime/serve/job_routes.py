"""Routes about jobs: requests to `/v1/upscale` with `Prefer: respond-async` (RFC 7240) begin them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fxsr.extras import needs
from fxsr.runtime.serve.background import BackgroundJob, JobQueue
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.openapi import JOB, JOB_RESULT, problems
from fxsr.runtime.serve.problems import RETRY_AFTER, ProblemError
from fxsr.runtime.serve.sending import file_response

with needs("serve"):
    from fastapi import APIRouter, Response
    from fastapi.responses import JSONResponse


def wants_job(prefer: str | None) -> bool:
    """Whether a `Prefer` header asks for an answer before the work is done."""
    preferences = (prefer or "").split(",")
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in preferences)


def job_accepted(jobs: JobQueue, job: BackgroundJob) -> Response:
    """The answer to a request that began a job."""
    headers = {
        "Location": f"/v1/jobs/{job.id}",
        "Preference-Applied": "respond-async",
        "Retry-After": str(RETRY_AFTER),
    }
    return JSONResponse(jobs.described(job), HTTPStatus.ACCEPTED, headers)


class JobRoutes:
    """What clients can ask about jobs."""

    def __init__(self, jobs: JobQueue, folder: OwnFolder) -> None:
        self._jobs = jobs
        self._folder = folder

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to a router."""
        known = problems(401, 403, 404, 421)
        router.add_api_route("/v1/jobs/{job}", self.state, responses=JOB | known)
        router.add_api_route(
            "/v1/jobs/{job}", self.cancel, methods=["DELETE"], status_code=HTTPStatus.NO_CONTENT, responses=known
        )
        router.add_api_route("/v1/jobs/{job}/result", self.result, response_class=Response, responses=JOB_RESULT)

    async def state(self, job: str) -> Mapping[str, Any]:
        """State, progress and place in the queue of a job; the problem if it failed."""
        return self._jobs.described(self._jobs.find(job))

    async def cancel(self, job: str) -> None:
        """Cancel a job, or forget its result."""
        self._jobs.cancel(self._jobs.find(job))

    async def result(self, job: str) -> Response:
        """The image file of a job that is done; the problem of one that failed."""
        found = self._jobs.find(job)
        if found.problem:
            raise found.problem
        if not found.result:
            detail = f"the job is {found.state.value}; ask again when its state is done"
            raise ProblemError.busy(HTTPStatus.CONFLICT, detail)
        # a name of its own: the job may be forgotten while the file is being sent
        folder = TemporaryDirectory(dir=self._folder.path, ignore_cleanup_errors=True)
        copy = Path(folder.name) / found.result.file.name
        try:
            os.link(found.result.file, copy)
        except OSError as error:
            folder.cleanup()
            raise ProblemError(HTTPStatus.NOT_FOUND, "the result was removed just now") from error
        return file_response(folder, found.result.moved_to(copy))
