"""One line of text for each request, for `fxsr serve --access-log`."""

from __future__ import annotations

import re
import secrets
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

ID_HEADER = b"x-request-id"
"""The header with a request's id: clients and proxies may set it, and every answer has it."""
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_LONGEST_PATH = 200


def request_id(scope: MutableMapping[str, Any]) -> str:
    """The id that a request came with, if it is a plain word of at most 64 characters; otherwise a new one."""
    given: bytes = dict(scope["headers"]).get(ID_HEADER, b"")
    return given.decode("ascii") if _ID.fullmatch(given) else secrets.token_hex(8)


def access_line(scope: MutableMapping[str, Any], status: int, sent: int, seconds: float, identity: str) -> str:
    """Time, client, method, path, status, bytes, milliseconds and id, with spaces between them.

    The path is percent-encoded and at most 200 characters long. Queries and headers are left out, since they may hold
    secrets.

    Args:
        scope: the request's ASGI scope.
        status: of the answer.
        sent: size of the answer's body in bytes.
        seconds: time from the request to the end of the answer.
        identity: the request's id.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    client = scope["client"][0] if scope.get("client") else "-"
    path = quote(scope["path"], safe="/:@-._~")[:_LONGEST_PATH]
    return f"{now} {client} {scope['method']} {path} {status} {sent} {seconds * 1000:.0f} {identity}"
