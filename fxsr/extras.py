"""Packages of extras: imported when used, and a missing one names the pip line that brings it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fxsr.errors import MissingExtraError


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports inside the block belong to `extra`.

    Raises:
        MissingExtraError: a package imported in the block is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise MissingExtraError(package, extra) from error


class LazyModule:
    """Stands for a module of `extra` until one of its names is used, so that the module that uses it imports cleanly.

    Raises:
        MissingExtraError: at first use, the package is not installed.
    """

    def __init__(self, module: str, extra: str) -> None:
        self._module = module
        self._extra = extra

    def __getattr__(self, name: str) -> Any:
        with needs(self._extra):
            return getattr(importlib.import_module(self._module), name)
