"""Ends the program on a signal without leaving incomplete files."""

from __future__ import annotations

import signal
import sys


class Stop:
    """Turns SIGINT and SIGTERM into SystemExit, so that incomplete files are removed on the way out."""

    def __init__(self) -> None:
        self.patient = False
        """Whether the first signal waits for the next `check` instead of raising at once. For work in several threads
        that wait for each other: it can end cleanly only at such a point. A second signal always raises."""
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
        """Whether a signal has arrived."""
        return bool(self._received)

    def check(self) -> None:
        """Exit if a signal has arrived."""
        if self._received:
            sys.exit(128 + self._received)
