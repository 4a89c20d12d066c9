"""Ends the program on a signal without leaving incomplete files."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_HANGUP = getattr(signal, "SIGHUP", None)


class Stop:
    """Turns SIGINT, SIGTERM and SIGHUP into SystemExit, so that incomplete files are removed on the way out.

    SIGHUP stays ignored where it was, as `nohup` asks for.
    """

    def __init__(self) -> None:
        self.patient = False
        """Whether the first signal waits for the next `check` instead of raising at once. For work in several threads
        that wait for each other: it can end cleanly only at such a point. A second signal always raises."""
        self._received = 0
        self._terminals = [number for number in (1, 2) if _is_terminal(number)]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)
        if _HANGUP is not None and signal.getsignal(_HANGUP) != signal.SIG_IGN:
            signal.signal(_HANGUP, self._hang_up)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        """The terminal was closed. Writing to it would fail, and end the work before it is saved."""
        with suppress(OSError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            for terminal in self._terminals:
                os.dup2(nothing, terminal)
            os.close(nothing)
        if signal.getsignal(signal.SIGTERM) == self._receive:
            self._receive(number, frame)
        else:  # a server handles SIGTERM now, and does not know SIGHUP
            signal.raise_signal(signal.SIGTERM)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = number == self._received == _HANGUP  # the shell and the system may both send it for one terminal
        wait = self.patient and (again or not self._received)
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


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False
