"""Connections of a server: bounded by the limit of open files, and closed if no request arrives on them in time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fxsr.extras import needs

with needs("serve"):
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""Longest time in seconds in which the head of a request must arrive, from the connection's or the last answer's
beginning."""
_MOST_CONNECTIONS = 1024
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"


def connection_limits() -> tuple[int, int]:
    """The largest number of open connections, and of those that wait to be accepted.

    Half of the files that this process may still open are for connections. The rest is for the files of requests, and
    for connections that are accepted in one go before the surplus is closed.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return _MOST_CONNECTIONS, 128
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS, 128
    own = Path("/proc/self/fd")
    free = limit - (len([*own.iterdir()]) if own.exists() else 64)
    return max(2, min(_MOST_CONNECTIONS, free // 2)), max(1, min(128, free // 16))


def limited_protocol(limit: int, head_seconds: float = HEAD_SECONDS) -> type[H11Protocol]:
    """A protocol for uvicorn that keeps to a number of connections. When there are too many, it closes the one that has
    waited longest without a request; if all have requests, it refuses the new one."""

    class LimitedProtocol(H11Protocol):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._timer: asyncio.TimerHandle | None = None
            self._begun = False
            """Whether a part of a request's head has arrived."""

        @property
        def waiting_until(self) -> float | None:
            """When the time for the next request's head is over; None: a request is being answered."""
            return self._timer.when() if self._timer else None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()
            if len(self.connections) > limit:
                self._make_room()

        def data_received(self, data: bytes) -> None:
            self._begun = True
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            self._begun = False
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def hang_up(self, answer: bytes = b"") -> None:
            """Close the connection."""
            self._unwatch()
            self.connections.discard(self)
            if answer:
                self.transport.write(answer)
            self.transport.close()

        def _make_room(self) -> None:
            others = [each for each in self.connections if isinstance(each, LimitedProtocol) and each is not self]
            waiting = [(each.waiting_until, each) for each in others if each.waiting_until is not None]
            if waiting:
                _, longest = min(waiting, key=lambda pair: pair[0])
                longest.hang_up()
            else:
                self.hang_up(_FULL)

        def _watch(self) -> None:
            """Start the time for a request's head, or stop it, as the connection's state requires."""
            if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
                self._unwatch()
            elif self._timer is None:
                self._timer = self.loop.call_later(head_seconds, lambda: self.hang_up(_LATE if self._begun else b""))

        def _unwatch(self) -> None:
            if self._timer:
                self._timer.cancel()
                self._timer = None

    return LimitedProtocol
