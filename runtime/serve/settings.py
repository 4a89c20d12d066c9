"""Limits of a server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fxsr.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Limits of a server.

    Raises:
        UsageError: one of them is not above 0, or the token can't be sent in a header.
    """

    max_bytes: int = 64 << 20
    """Largest size of a request body, in bytes."""
    max_pixels: int = 16_000_000
    """Largest number of pixels in an image or style map, and in the images of a tensor request together."""
    max_requests: int = 64
    """Largest number of requests in flight; further ones get 429."""
    at_once: int = 8
    """How many of them are in work; the others wait, and only their bodies are held."""
    seconds: float = 120
    """Longest time from a request's first byte to the last byte of its response."""
    max_jobs: int = 64
    """Largest number of jobs: waiting, running, and finished with a result that is kept."""
    keep_seconds: float = 3600
    """How long the result of a job is kept."""
    token: str | None = None
    """The token that clients must send as `Authorization: Bearer TOKEN`. None: no token is needed."""

    hosts: tuple[str, ...] = ()
    """Names under which browsers may reach the server, in addition to the loopback names and the address that it
    listens on; `*` means any name."""
    max_kept: int = 256 << 20
    """Largest size of the decoded photos that a page keeps for all its users, in bytes."""
    max_stored: int = 4 << 30
    """Largest size of the files that a page keeps for all its users, and a server for its jobs, in bytes."""

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name not in ("token", "hosts")):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name):g}; it must be above 0")
        if self.token is not None and not (self.token and self.token.isascii() and self.token.isprintable()):
            raise UsageError("the token must be printable ASCII, and not empty")
