"""What Linux's control groups leave of this machine to this process: containers, Slurm and systemd set them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def cpu_quota(root: Path = _ROOT) -> float | None:
    """How many CPUs' time it may take; None: as much as there is.

    Args:
        root: of the file system, for tests.
    """
    quotas = []
    for folder in _folders(root, "cpu"):
        with suppress(OSError, ValueError):  # ValueError: "max"
            quota, period = _read(folder / "cpu.max").split()
            quotas.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
            quotas += [int(quota) / int(period)] * (int(quota) > 0)
    return min(quotas, default=None)


def memory_left(root: Path = _ROOT) -> int | None:
    """How many bytes it may still take; None: as many as there are."""
    left = []
    for folder in _folders(root, "memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with suppress(OSError, ValueError):
                left.append(int(_read(folder / limit)) - int(_read(folder / used)))
    return min(left, default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Of this process's groups and all that these are in, of both versions. A container may see its own as the root."""
    try:
        lines = _read(root / "proc/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controllers
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        yield from (mount / each for each in (inside, *inside.parents))


def _read(path: Path) -> str:
    return path.read_text().strip()
