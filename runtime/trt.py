"""What TensorRT's builder and runtime have in common: the log, and names of types.

A failing call returns None or False, and says why in the log only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Log(Protocol):
    """A `trt.ILogger` that keeps what is needed afterwards."""

    lines: list[str]
    errors: list[str]

    def first_error(self) -> str:
        """Of those since `forget`; later ones are often about something else, such as a missing driver."""
        ...

    def forget(self) -> None:
        """Before a call whose errors are asked for."""
        ...


def make_log(trt: Any, tell: Callable[[str, str], None] = lambda severity, message: None) -> Log:
    """A logger for `trt.Builder` and `trt.Runtime`.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        tell: hears of every line, severity first; from the library's threads too.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []
            self.errors: list[str] = []

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
