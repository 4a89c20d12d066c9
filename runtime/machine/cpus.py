"""Number of CPUs that this process may use."""

from __future__ import annotations

import math
import os

from fxsr.runtime.machine.cgroup import cpu_quota


def available_cpus() -> int:
    """Number of CPUs that this process may use: those in its affinity mask, limited by the control group's quota and by
    OMP_NUM_THREADS, which launchers of several processes set."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    count = min(count, int(wanted) or 1) if wanted.isdecimal() else count
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))
