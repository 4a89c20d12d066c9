"""Limits that Linux control groups set for this process, as containers, Slurm and systemd use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def cpu_quota(root: Path = _ROOT) -> float | None:
    """CPUs whose time this process may use. None: no limit.

    Args:
        root: root of the file system, for tests.
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
    """Bytes that this process may still allocate. None: no limit.

    Args:
        root: root of the file system, for tests.
    """
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
    """Folders of this process's groups and of their parents, in both versions of control groups. In a container, its
    own group may appear as the root."""
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
