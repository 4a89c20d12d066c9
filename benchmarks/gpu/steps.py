"""A step of the hardware report: what it is before it runs, and how its process reports back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fxsr.benchmarks.gpu.report import Finding, Value

PACKAGE = "fxsr.benchmarks.gpu"


@dataclass(frozen=True)
class Step:
    """One step, which runs as a process of its own."""

    group: str
    name: str
    function: str
    """Module of `fxsr.benchmarks.gpu` and function, such as "probes.measure_gemm". It is called with a `Journal` and
    `arguments`."""
    limit_s: float
    """After this time the process is stopped."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Values that JSON can hold."""


class Journal:
    """Where the process of a step writes what it finds, line by line, so that nothing is lost when it is stopped.

    Args:
        path: the file.
        work: folder for graphs and engines, which later steps use again.
    """

    def __init__(self, path: Path, work: Path) -> None:
        self._path = path
        self.work = work
        self.faults: list[str] = []
        """What failed so far, one line each. The step fails at its end if there are any."""

    def add(self, name: str, **values: Value) -> None:
        """Write one row of the step's table. In the names of values, "_" stands for a space and "_per_" for "/"."""
        self.add_row(name, {key.replace("_per_", "/").replace("_", " "): value for key, value in values.items()})

    def add_row(self, name: str, values: Mapping[str, Value]) -> None:
        """Write one row of the step's table."""
        self._write(Entry(finding=Finding(name, values)))

    def fail(self, fault: str) -> None:
        """Note a fault, and let the step continue."""
        self.faults.append(" ".join(fault.split()))

    def explain(self, reason: str) -> None:
        """Write why the step does not pass."""
        self._write(Entry(reason=" ".join(reason.split())))

    def _write(self, entry: Entry) -> None:
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True)
class Entry:
    """One line of a journal."""

    finding: Finding | None = None
    reason: str = ""


def read_journal(path: Path) -> tuple[tuple[Finding, ...], str]:
    """The findings of a step so far, and its reason. The last line may be incomplete: its writer may have been stopped.

    Without a file there is nothing yet.
    """
    findings, reason = [], ""
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError:
            continue
        if entry.finding:
            findings.append(entry.finding)
        reason = entry.reason or reason
    return tuple(findings), reason


def step_command(step: Step, journal: Path, work: Path) -> list[str]:
    """The command that starts a step's process, given the file of its journal and the work folder."""
    module = f"{PACKAGE}.worker"
    return [sys.executable, "-m", module, step.function, str(journal), str(work), json.dumps(step.arguments)]
