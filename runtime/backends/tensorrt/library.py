"""What TensorRT's builder and runtime have in common: the log, and names of types.

A failing call returns None or False, and says why in the log only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol


class Log(Protocol):
    """A `trt.ILogger` that keeps what is needed afterwards."""

    @property
    def lines(self) -> list[str]: ...

    @property
    def errors(self) -> list[str]: ...

    def first_error(self) -> str:
        """Of those since `forget`; later ones are often about something else, such as a missing driver."""
        ...

    def forget(self) -> None:
        """Before a call whose errors are asked for."""
        ...


def runtime_log(trt: Any) -> Log:
    """The logger of all runtimes of a flavour in this process. The library keeps the first one that it is given for all
    that come later, and does not notice when that is gone. Each thread hears of its own calls.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
    """
    return _lasting_log(trt.ILogger)


@cache
def _lasting_log(base: Any) -> Log:
    return make_log(SimpleNamespace(ILogger=base), by_thread=True)


def make_log(
    trt: Any, tell: Callable[[str, str], None] = lambda severity, message: None, *, by_thread: bool = False
) -> Log:
    """A logger, such as for the one `trt.Builder` of a process. It must outlive whatever it is given to.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        tell: hears of every line, severity first; from the library's threads too.
        by_thread: a thread is told of its own calls only.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._heard: Any = threading.local() if by_thread else SimpleNamespace()

        @property
        def lines(self) -> list[str]:
            return self._kept("lines")

        @property
        def errors(self) -> list[str]:
            return self._kept("errors")

        def _kept(self, name: str) -> list[str]:
            kept: list[str] = self._heard.__dict__.setdefault(name, [])
            return kept

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.INFO):
                self.lines.append(message)
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)
            tell(str(severity).rpartition(".")[2], message)

        def first_error(self) -> str:
            return " ".join(self.errors[0].split()) if self.errors else "it does not say why"

        def forget(self) -> None:
            self.lines.clear()
            self.errors.clear()

    log: Log = Logger()
    return log


def type_name(dtype: Any) -> str:
    """A `trt.DataType` as numpy names it."""
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "UINT8": "uint8"}
    name: str = dtype.name
    return names.get(name, name.lower())
