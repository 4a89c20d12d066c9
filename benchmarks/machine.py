"""Names the machine that figures were taken on."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from fxsr.runtime.session import available_cpus


def machine(*packages: str) -> str:
    """One line: processor, CPUs in use, Python, and versions of `packages`."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return ", ".join([f"{_processor()}, {available_cpus()} CPUs", f"Python {platform.python_version()}", *versions])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
