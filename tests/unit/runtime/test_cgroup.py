"""Limits of control groups, of both versions, on file systems that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxsr.runtime.machine.cgroup import cpu_quota, memory_left


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_without_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), memory_left(tmp_path)) == (None, None)


@pytest.mark.parametrize("inner", ["max 100000", "400000 100000"])
def test_the_narrowest_of_nested_groups_counts(inner: str, tmp_path: Path) -> None:
    write(tmp_path / "proc/self", cgroup="0::/slice/unit")
    for place, text in {"slice/unit": inner, "slice": "150000 100000"}.items():
        write(tmp_path / "sys/fs/cgroup" / place, **{"cpu.max": text, "memory.max": "max", "memory.current": "5"})
    assert (cpu_quota(tmp_path), memory_left(tmp_path)) == (1.5, None)


def test_a_container_that_sees_its_group_as_the_root(tmp_path: Path) -> None:
    write(tmp_path / "proc/self", cgroup="0::/docker/0123")
    write(tmp_path / "sys/fs/cgroup", **{"cpu.max": "50000 100000", "memory.max": "1000", "memory.current": "400"})
    assert (cpu_quota(tmp_path), memory_left(tmp_path)) == (0.5, 600)


def test_version_1(tmp_path: Path) -> None:
    write(tmp_path / "proc/self", cgroup="7:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job")
    cpu = {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}
    write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/job", **cpu)
    write(tmp_path / "sys/fs/cgroup/cpu,cpuacct", **cpu | {"cpu.cfs_quota_us": "-1"})
    write(tmp_path / "sys/fs/cgroup/memory/job", **{"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "100"})
    assert (cpu_quota(tmp_path), memory_left(tmp_path)) == (2, 800)
