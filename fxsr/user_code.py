"""Functions of users that recipes name as "python:module.function". Importing and calling them runs their code."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fxsr.errors import UsageError, first_line, foreign_name

_PREFIX = "python:"
_NAME = re.compile(r"python:(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*", re.ASCII)


def is_user_code(name: str) -> bool:
    """Whether a name in a recipe means a function of a user. Imports nothing.

    Raises:
        UsageError: it looks like one, and is not complete.
    """
    if name.startswith(_PREFIX) and not _NAME.fullmatch(name):
        raise UsageError(f"{foreign_name(name)!r} names no function; write python:MODULE.FUNCTION")
    return name.startswith(_PREFIX)


def load_function(name: str, arguments: Sequence[str]) -> Callable[..., Any]:
    """Import a function. Python looks for its module in PYTHONPATH and among the installed packages.

    Args:
        name: "python:module.function".
        arguments: names of the positional arguments with which it will be called.

    Raises:
        UsageError: it can't be imported, or does not take these arguments.
    """
    module, _, attribute = name.removeprefix(_PREFIX).rpartition(".")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            advice = "install it, or add its folder to PYTHONPATH"
            raise UsageError(f"{name}: Python finds no module {error.name}; {advice}") from error
        raise UsageError(f"{name}: importing {module} failed: {describe_failure(error)}") from error
    function: Callable[..., Any] | None = getattr(found, attribute, None)
    if not callable(function):
        raise UsageError(f"{name}: the module {module} has no function {attribute}")
    try:
        signature = inspect.signature(function)
        signature.bind(*arguments)
    except TypeError as error:
        raise UsageError(f"{name}: it takes {signature}; it must take ({', '.join(arguments)})") from error
    except ValueError:  # compiled functions may have no signature
        pass
    return function


def describe_failure(error: Exception) -> str:
    """What an error of a user's code says, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {first_line(error)}{place}"
