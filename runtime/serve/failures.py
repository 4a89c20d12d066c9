"""The answers of an app whose routes raise errors: problem details, whatever was raised."""

from __future__ import annotations

from http import HTTPStatus

from fxsr.errors import FxsrError
from fxsr.extras import needs
from fxsr.runtime.serve.problems import MEDIA_TYPE, ProblemError

with needs("serve"):
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException


def answer_failures(app: FastAPI) -> None:
    """Let an app answer every error of its routes with problem details."""
    for kind in (ProblemError, FxsrError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    match error:
        case ProblemError():
            problem = error
        case FxsrError():
            problem = ProblemError.of(error)
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
            problem = ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}")
        case HTTPException():
            problem = ProblemError(error.status_code, error.detail, error.headers)
        case _:  # an error in the server, which is logged as well
            problem = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; see its log")
    return Response(problem.body(), problem.status, problem.headers, MEDIA_TYPE)
