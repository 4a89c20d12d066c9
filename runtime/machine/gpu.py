"""Which NVIDIA GPUs are here, without any package of CUDA: the driver's own tool says it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

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
    """Where it sits, such as "00000000:3B:00.0"."""

    def sits_at(self, pci: str) -> bool:
        """Whether a place, as whichever library writes it, is this GPU's."""
        return bool(pci) and _place(self.pci) == _place(pci)


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that the driver reports and CUDA_VISIBLE_DEVICES does not hide, in that order; none without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return _visible(tuple(map(_parse, listed.strip().splitlines())), os.environ.get("CUDA_VISIBLE_DEVICES"))


def _visible(gpus: tuple[Gpu, ...], wanted: str | None) -> tuple[Gpu, ...]:
    """As CUDA reads the variable: numbers and beginnings of UUIDs, up to the first that names no GPU."""
    if wanted is None or "MIG-" in wanted:  # a part of a GPU: which one, this tool does not say
        return gpus
    found = []
    for each in (word.strip() for word in wanted.split(",")):
        named = [gpu for gpu in gpus if each.startswith("GPU-") and gpu.uuid.startswith(each)]
        named = named or list(gpus[int(each) : int(each) + 1] if each.isdecimal() else ())
        if not named:
            break
        found += named[:1]
    return tuple(found)


def _parse(line: str) -> Gpu:
    name, capability, driver, memory, uuid, pci = (part.strip() for part in line.split(","))
    return Gpu(name, capability, driver, int(memory) if memory.isdigit() else 0, uuid, pci)


def _place(pci: str) -> list[int]:
    """Domain, bus, device and function, which are hexadecimal; the domain has four digits or eight."""
    return [int(part, 16) for part in re.findall("[0-9a-fA-F]+", pci)]
