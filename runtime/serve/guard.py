"""Limits around all routes: token, size, number of requests, time. Plain ASGI."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fxsr.extras import LazyModule
from fxsr.runtime.serve.problems import MEDIA_TYPE, ProblemError
from fxsr.runtime.serve.settings import Settings

if TYPE_CHECKING:
    import h11
else:
    h11 = LazyModule("h11", extra="serve")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""Paths that need no token and are never refused: monitoring asks there."""


class Guard:
    """Passes requests to an app within the limits of `Settings`.

    Args:
        app: answers the requests.
        settings: the limits.
        observe: called after every answer with the method, the path as the app's routes spell it, the status and the
            seconds.
    """

    def __init__(self, app: App, settings: Settings, observe: Callable[[str, str, int, float], None]) -> None:
        self._app = app
        self._settings = settings
        self._observe = observe
        self.in_flight = 0
        """Number of requests with a body that are not answered yet."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._settings.max_bytes)
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
            route = getattr(scope.get("route"), "path", "(none)")  # not the requested path, which can be anything
            method = scope["method"] if scope["method"] in ("GET", "POST") else "(other)"
            self._observe(method, route, exchange.status or 499, time.perf_counter() - begin)

    async def _limited(self, scope: Message, exchange: _Exchange) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if scope["path"] in OPEN_PATHS:
            await self._app(scope, exchange.receive, exchange.send)
            return
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


class _Exchange:
    """One request and its answer. Counts the bytes received, and knows whether an answer was begun."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._bytes = 0
        self.received = False
        self.status: int | None = None
        self.ended = False
        """Whether the answer is complete."""
        self.refused: ProblemError | None = None
        """Why the body was not read to its end. The app's own answer is then dropped: it may have mistaken the error
        for a damaged body."""

    def check_length(self, header: bytes | None) -> None:
        """Refuse a body by its Content-Length.

        Raises:
            ProblemError: it is too long, or the header is not a number.
        """
        if header is None:
            return
        if not header.isdigit():
            raise ProblemError(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
        self._check(int(header))

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            try:
                self._check(self._bytes)
            except ProblemError as problem:
                self.refused = problem
                raise
            self.received = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        try:
            await self._send(message)
        except h11.LocalProtocolError:  # the server answered by itself, since what came was not HTTP
            while (await self._receive())["type"] != "http.disconnect":
                pass

    async def answer(self, problem: ProblemError) -> None:
        """Answer with an error. An answer that has begun already is broken off."""
        if self.status is not None:
            raise problem
        body = problem.body()
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **problem.headers}
        if not self.received:  # don't wait for the rest of the body
            headers["Connection"] = "close"
        self.refused = None
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body})

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {self._max_bytes} bytes; this one has more"
            )
