"""Finds this machine's NVIDIA GPUs with the driver's own tool, without any CUDA package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

_FIELDS = "name,compute_cap,driver_version,memory.total,uuid,pci.bus_id"


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    name: str
    compute_capability: str
    """Such as "8.9"."""
    driver: str
    memory_mb: int
    uuid: str = ""
    pci: str = ""
    """PCI address, such as "00000000:3B:00.0"."""

    def has_address(self, pci: str) -> bool:
        """Whether a PCI address, in any library's notation, is this GPU's."""
        return bool(pci) and _address(self.pci) == _address(pci)


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that the driver reports and CUDA_VISIBLE_DEVICES does not hide, in that variable's order. Without a
    driver there are none.

    The driver's tool runs once per process, since GPUs neither come nor go. The variable is read at every call.
    """
    tool = shutil.which("nvidia-smi")
    return () if tool is None else _visible(_list_gpus(tool), os.environ.get("CUDA_VISIBLE_DEVICES"))


@cache
def _list_gpus(tool: str) -> tuple[Gpu, ...]:
    """All GPUs that nvidia-smi, at this path, reports."""
    command = [tool, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(map(_parse, listed.strip().splitlines()))


def _visible(gpus: tuple[Gpu, ...], wanted: str | None) -> tuple[Gpu, ...]:
    """Apply CUDA_VISIBLE_DEVICES as CUDA does: numbers and prefixes of UUIDs, up to the first that matches no GPU."""
    if wanted is None or "MIG-" in wanted:  # a MIG instance; this tool does not report which GPU it is part of
        return gpus
    found = []
    for word in (part.strip() for part in wanted.split(",")):
        matching = [gpu for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)]
        matching = matching or list(gpus[int(word) : int(word) + 1] if word.isdecimal() else ())
        if not matching:
            break
        found += matching[:1]
    return tuple(found)


def _parse(line: str) -> Gpu:
    name, capability, driver, memory, uuid, pci = (part.strip() for part in line.split(","))
    return Gpu(name, capability, driver, int(memory) if memory.isdigit() else 0, uuid, pci)


def _address(pci: str) -> list[int]:
    """Domain, bus, device and function. They are hexadecimal, and the domain has four digits or eight."""
    return [int(part, 16) for part in re.findall("[0-9a-fA-F]+", pci)]
