"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass

from fxsr.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Limits of a server.

    Raises:
        UsageError: one of them makes no sense.
    """

    max_bytes: int = 64 << 20
    """Of a request's body."""
    max_pixels: int = 16_000_000
    """Of an image or style map that is sent: what it decodes to counts, not its file."""
    max_requests: int = 64
    """In flight; more are turned away until one is done."""
    at_once: int = 8
    """In work; the others in flight wait with nothing but their body held."""
    seconds: float = 120
    """From a request's first byte to the last of its response."""
    token: str | None = None
    """What `Authorization: Bearer` must hold. None: nothing is asked for."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_requests", "at_once", "seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name.replace('_', '-')} is {getattr(self, name):g}; it must be above 0")
        if self.token is not None and not (self.token and self.token.isascii() and self.token.isprintable()):
            raise UsageError("the token must be printable ASCII, and not empty")
