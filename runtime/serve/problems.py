"""Errors in HTTP: a status, and a body with "problem details" (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fxsr.errors import FxsrError, ImageError, MissingExtraError, StyleError, TooLargeError, UsageError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2
"""Seconds after which clients of a busy server should try again."""


class ProblemError(Exception):
    """An error that answers a request."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})

    @staticmethod
    def busy(status: int, detail: str) -> ProblemError:
        """An error after which the client should try again soon."""
        return ProblemError(status, detail, {"Retry-After": str(RETRY_AFTER)})

    @staticmethod
    def of(error: FxsrError | MemoryError | OSError) -> ProblemError:
        """The answer to a request whose work raised an error."""
        match error:
            case TooLargeError():
                return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
            case ImageError() | StyleError() | UsageError() | MissingExtraError():  # trying again would not help
                return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            case FxsrError():
                return ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            case MemoryError():
                return ProblemError.busy(
                    HTTPStatus.SERVICE_UNAVAILABLE, "too little memory for this request at the moment"
                )
            case _:  # such as a full disk; its message may name paths of this machine
                return ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, "the server could not do this request")

    def fields(self) -> dict[str, Any]:
        """The members of the body. Clients of the Open Inference Protocol read `error`, which equals `detail`."""
        title = HTTPStatus(self.status).phrase
        detail = " ".join(str(self).split())
        return {"type": "about:blank", "title": title, "status": self.status, "detail": detail, "error": detail}

    def body(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.fields()).encode()
