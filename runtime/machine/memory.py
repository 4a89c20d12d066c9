"""Memory that this process may still take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fxsr.runtime.machine.cgroup import memory_left


def available_memory() -> int | None:
    """Bytes that are free for this process: the machine's, and those that limits leave. None: unknown."""
    left = [_machine(), memory_left(), _address_space()]
    return min((each for each in left if each is not None), default=None)


def _machine() -> int | None:
    with suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return None


def _address_space() -> int | None:
    """What `ulimit -v` leaves. None: no limit, or it is not known how much of it is used."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            return max(limit - used, 0)
    return None
