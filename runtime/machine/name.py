"""Names the machine on which something was measured."""

from __future__ import annotations

import platform
from pathlib import Path

from fxsr.extras import installed_version
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.machine.gpu import find_gpus
from fxsr.runtime.session import Device


def machine(*packages: str, gpu: bool = False) -> str:
    """One line with the processor, usable CPUs, GPUs if `gpu` is set, Python, and versions of installed `packages`."""
    gpus = [f"{each.name}, driver {each.driver}" for each in find_gpus()] if gpu else []
    versions = [f"{package} {version}" for package in packages if (version := _version(package))]
    return ", ".join(
        [f"{_processor()}, {available_cpus()} CPUs", *gpus, f"Python {platform.python_version()}", *versions]
    )


def hardware(device: Device) -> str:
    """Name of the processor or GPU that a device is."""
    if device.is_cpu:
        return _processor()
    gpus = find_gpus()
    return gpus[device.index].name if device.index < len(gpus) else str(device)


def _version(package: str) -> str | None:
    """Version of an installed package, or of its form for GPUs."""
    return installed_version(package) or installed_version(f"{package}-gpu")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
