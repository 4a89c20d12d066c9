"""Optional packages: imported when they are used. If one is missing, the error names the command that installs it.
Their versions are read without importing them."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fxsr.errors import MissingExtraError

_CUDA_VARIANTS = ("", "-cu13", "-cu12")
"""Suffixes of package names for versions of CUDA, as NVIDIA's packages have them."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Name `extra` in the error if an import inside the block fails.

    Raises:
        MissingExtraError: a package imported in the block is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise MissingExtraError(package, extra) from error


def installed_version(package: str) -> str | None:
    """Version of an installed package, which may have a version of CUDA behind its name. None: it is not installed."""
    for variant in _CUDA_VARIANTS:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package + variant)
    return None


class LazyModule:
    """A module of `extra` that is imported when one of its names is first used.

    Raises:
        MissingExtraError: from that first use; the package is not installed.
    """

    def __init__(self, module: str, extra: str) -> None:
        self._module = module
        self._extra = extra

    def __getattr__(self, name: str) -> Any:
        with needs(self._extra):
            return getattr(importlib.import_module(self._module), name)
