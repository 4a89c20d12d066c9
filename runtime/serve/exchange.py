"""One request and its answer, for the ASGI wrappers around the server and the page. Plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fxsr.extras import LazyModule
from fxsr.runtime.serve.origins import SAFE_HEADERS
from fxsr.runtime.serve.problems import MEDIA_TYPE, ProblemError

if TYPE_CHECKING:
    import h11
else:
    h11 = LazyModule("h11", extra="serve")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_SAFE_HEADERS = tuple((name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items())


class Exchange:
    """One request and its answer. Counts the bytes received and sent, and knows whether an answer was begun.

    Args:
        receive, send: the request's ASGI callables.
        max_bytes: largest size of the request's body.
        headers: added to the answer's own, names in lower case.
    """

    def __init__(
        self, receive: Receive, send: Send, max_bytes: int, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._headers = (*headers, *_SAFE_HEADERS)
        self._bytes = 0
        self.sent = 0
        """Size of the answer's body so far, in bytes."""
        self.received = False
        self.status: int | None = None
        self.ended = False
        """Whether the answer is complete."""
        self.gone = False
        """Whether the client hung up before that."""
        self._watcher: asyncio.Task[Any] | None = None
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
        elif not self.ended:
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        elif message.get("more_body", False) and self.received and self._watcher is None:
            self._watcher = asyncio.ensure_future(self.receive())  # nothing else tells that a download was broken off
        self.sent += len(message.get("body", b""))
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self.ended:
            self.close()
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

    def close(self) -> None:
        """Stop waiting for a hang-up."""
        if self._watcher:
            self._watcher.cancel()

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {self._max_bytes} bytes; this one has more"
            )
