"""The files that the page consists of. They lie in the package; their names are all that can be asked for."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from importlib.resources import files
from pathlib import PurePath

from fxsr.extras import needs
from fxsr.runtime.serve.problems import ProblemError

with needs("ui"):
    from fastapi import Request, Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The page loads everything from this server, and makes neither scripts nor markup from text."""
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}


class FilesOfPage:
    """The page's files, in memory."""

    def __init__(self) -> None:
        self._files = {
            each.name: each.read_bytes()
            for each in files("fxsr.runtime.ui").joinpath("static").iterdir()
            if PurePath(each.name).suffix in _MEDIA_TYPES
        }

    def answer(self, name: str, request: Request) -> Response:
        """A file of the page, or word that the browser has it already.

        Raises:
            ProblemError: there is no such file.
        """
        body = self._files.get(name)
        if body is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "there is nothing here")
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(body, headers=headers, media_type=_MEDIA_TYPES[PurePath(name).suffix])
