"""What TensorRT's builder and runtime share: the log, and names of types.

A failing call returns None or False; the reason is in the log only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

from fxsr.runtime.device.open import open_device


class TensorRTLog(Protocol):
    """A `trt.ILogger` that keeps what the library logged."""

    @property
    def lines(self) -> list[str]:
        """Messages of severity "info" and above since `clear`."""
        ...

    @property
    def errors(self) -> list[str]:
        """Errors since `clear`."""
        ...

    def first_error(self) -> str:
        """The first error since `clear`; later ones are often about something else, such as a missing driver."""
        ...

    def clear(self) -> None:
        """Forget all messages. Call this before a call whose errors matter."""
        ...


def runtime_log(trt: Any) -> TensorRTLog:
    """The logger of all runtimes of a flavour in this process. The library uses the first logger that it is given for
    all later runtimes too, and does not notice when that logger is gone. Each thread sees the messages of its own
    calls.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
    """
    return _lasting_log(trt.ILogger)


@cache
def _lasting_log(base: Any) -> TensorRTLog:
    return make_log(SimpleNamespace(ILogger=base), by_thread=True)


def make_log(
    trt: Any, on_message: Callable[[str, str], None] = lambda severity, message: None, *, by_thread: bool = False
) -> TensorRTLog:
    """A logger. It must outlive the builder or runtime that it is given to.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        on_message: called with the severity and text of every message, possibly from the library's own threads.
        by_thread: keep the messages of each thread apart.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._messages: Any = threading.local() if by_thread else SimpleNamespace()

        @property
        def lines(self) -> list[str]:
            return self._kept("lines")

        @property
        def errors(self) -> list[str]:
            return self._kept("errors")

        def _kept(self, name: str) -> list[str]:
            kept: list[str] = self._messages.__dict__.setdefault(name, [])
            return kept

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.INFO):
                self.lines.append(message)
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)
            on_message(str(severity).rpartition(".")[2], message)

        def first_error(self) -> str:
            return " ".join(self.errors[0].split()) if self.errors else "the library gave no reason"

        def clear(self) -> None:
            self.lines.clear()
            self.errors.clear()

    log: TensorRTLog = Logger()
    return log


def check_cuda(index: int = 0) -> None:
    """Make sure that CUDA works on GPU number `index`.

    Without a driver, or with one that is too old, TensorRT's builder and runtime end the process, which no caller can
    catch. So this comes before either is made.

    Raises:
        DeviceError: CUDA does not work.
        MissingExtraError: the library that reaches the GPU is not installed.
    """
    open_device(index).close()


def type_name(dtype: Any) -> str:
    """The name of a `trt.DataType` in numpy."""
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "UINT8": "uint8"}
    name: str = dtype.name
    return names.get(name, name.lower())
