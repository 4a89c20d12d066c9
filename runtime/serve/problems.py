"""Errors as HTTP sees them: a status, and a body of RFC 9457 ("problem details") that says what was wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from fxsr.errors import FxsrError, ImageError, StyleError, TooLargeError, UsageError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2
"""Seconds after which it is worth trying again, when a server is busy."""


class ProblemError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})

    @staticmethod
    def busy(status: int, detail: str) -> ProblemError:
        """One that is worth trying again soon."""
        return ProblemError(status, detail, {"Retry-After": str(RETRY_AFTER)})

    @staticmethod
    def of(error: FxsrError | MemoryError | OSError) -> ProblemError:
        """What an error from below means to a client."""
        match error:
            case TooLargeError():
                return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
            case ImageError() | StyleError() | UsageError():
                return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            case FxsrError():
                return ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            case MemoryError():
                return ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, "too little memory for this request just now")
            case _:  # such as a full disk; its text may name paths of this machine
                return ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, "the server could not do this request")

    def body(self) -> bytes:
        """`error` says the same for clients of the Open Inference Protocol."""
        title = HTTPStatus(self.status).phrase
        detail = " ".join(str(self).split())
        fields = {"type": "about:blank", "title": title, "status": self.status, "detail": detail, "error": detail}
        return json.dumps(fields).encode()
