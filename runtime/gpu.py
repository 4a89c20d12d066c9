"""Which NVIDIA GPUs are here, without any package of CUDA: the driver's own tool says it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

_FIELDS = "name,compute_cap,driver_version,memory.total"


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    name: str
    compute_capability: str
    """Such as "8.9"."""
    driver: str
    memory_mb: int


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that the driver reports, in its order; none without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(map(_parse, listed.strip().splitlines()))


def _parse(line: str) -> Gpu:
    name, capability, driver, memory = (part.strip() for part in line.split(","))
    return Gpu(name, capability, driver, int(memory) if memory.isdigit() else 0)
