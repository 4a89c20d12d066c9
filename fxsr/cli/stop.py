"""Stopping on a signal, in good order."""

from __future__ import annotations

import signal
import sys


class Stop:
    """SIGINT and SIGTERM as SystemExit, so that files half written are removed on the way out."""

    def __init__(self) -> None:
        self.patient = False
        """Wait for the next `check` instead of raising at once, unless asked twice: threads that wait for each other
        are then where they can end well."""
        self._received = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        wait = self.patient and not self._received
        self._received = number
        if not wait:
            self.check()

    @property
    def received(self) -> bool:
        """Whether a signal came."""
        return bool(self._received)

    def check(self) -> None:
        """Exit if a signal came."""
        if self._received:
            sys.exit(128 + self._received)
