"""Limits around all routes: host and origin, token, size, number of requests, time. Plain ASGI."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from fxsr.runtime.serve.access_log import ID_HEADER, access_line, request_id
from fxsr.runtime.serve.exchange import App, Exchange, Message, Receive, Send
from fxsr.runtime.serve.origins import check_origin
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.settings import Settings

HEALTH_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""Paths that need no token and are not limited: monitoring asks there."""
DOCS_PATHS = frozenset({"/", "/docs", "/openapi.json"})
"""Paths that need no token, since browsers can't send it with links: the page about the API, where it can be given."""
_DOCS_FOLDER = "/static-offline-docs/"
GONE = 499
"""The status of requests whose client hung up, in the metrics; nginx counts them so too."""


class Guard:
    """Passes requests to an app within the limits of `Settings`.

    Args:
        app: answers the requests.
        settings: the limits.
        observe: called after every answer with the method, the path as the app's routes spell it, the status and the
            seconds.
        log: called after every answer, with a line about it; see `fxsr.runtime.serve.access_log`.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        observe: Callable[[str, str, int, float], None],
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._observe = observe
        self._log = log
        self.in_flight = 0
        """Number of requests with a body that are not answered yet."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # there is nothing for web sockets
                await self._app(scope, receive, send)
            return
        identity = request_id(scope)
        exchange = Exchange(receive, send, self._settings.max_bytes, [(ID_HEADER, identity.encode())])
        begin = time.perf_counter()
        try:
            await self._limited(scope, exchange)
            if exchange.refused:
                await exchange.answer(exchange.refused)
        except ProblemError as problem:
            await exchange.answer(problem)
        except Exception:  # an error in the app, which has answered already
            if not exchange.ended:
                raise
            logging.getLogger("uvicorn.error").exception("a request failed")
        finally:
            exchange.close()
            route = getattr(scope.get("route"), "path", "(none)")  # not the requested path, which can be anything
            method = scope["method"] if scope["method"] in ("GET", "POST") else "(other)"
            status = GONE if exchange.gone or exchange.status is None else exchange.status
            seconds = time.perf_counter() - begin
            self._observe(method, route, status, seconds)
            if self._log:
                self._log(access_line(scope, status, exchange.sent, seconds, identity))

    async def _limited(self, scope: Message, exchange: Exchange) -> None:
        check_origin(scope, self._settings.hosts)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if scope["path"] in HEALTH_PATHS:
            await self._app(scope, exchange.receive, exchange.send)
            return
        if scope["path"] not in DOCS_PATHS and not scope["path"].startswith(_DOCS_FOLDER):
            self._check_token(headers.get(b"authorization", b""))
        exchange.check_length(headers.get(b"content-length"))
        _check_encoding(headers, scope["path"])
        if scope["method"] == "POST":
            if self.in_flight >= self._settings.max_requests:
                raise ProblemError.busy(
                    HTTPStatus.TOO_MANY_REQUESTS, f"{self.in_flight} requests are in flight already"
                )
            self.in_flight += 1
        try:
            async with asyncio.timeout(self._settings.seconds):
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            limit = f"{self._settings.seconds:g} s"
            if not exchange.received:
                raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {limit}") from None
            raise ProblemError.busy(
                HTTPStatus.SERVICE_UNAVAILABLE, f"it was not done within {limit}; try later, or send a smaller image"
            ) from None
        finally:
            if scope["method"] == "POST":
                self.in_flight -= 1

    def _check_token(self, given: bytes) -> None:
        token = self._settings.token
        scheme, _, word = given.partition(b" ")
        if token is not None and not (scheme.lower() == b"bearer" and hmac.compare_digest(word, token.encode())):
            detail = "this server needs a token: send Authorization: Bearer TOKEN"
            raise ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})


def _check_encoding(headers: Mapping[bytes, bytes], path: str) -> None:
    """Refuse charsets other than UTF-8, since decoding some takes minutes, and compressed bodies except tensors."""
    charsets = re.findall(rb"charset[^=]*=\s*\"?([^\s;\"]*)", headers.get(b"content-type", b"").lower())
    if not {b"utf-8", b"utf8", b"us-ascii"}.issuperset(charsets):
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the charset of a request must be utf-8")
    if b"content-encoding" in headers and not path.endswith("/infer"):
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this path accepts no Content-Encoding")
