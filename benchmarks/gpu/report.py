"""What the hardware report says, as `report.json` holds it and `report.md` shows it.

`schema` is raised when a field changes its meaning. Every measured value names its unit: "median ms", "GB/s".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

from fxsr.errors import FxsrError
from fxsr.files import atomic_path

SCHEMA = 1
REPORT = "report.json"
Value = str | int | float | bool | None
Outcome = Literal["passed", "failed", "timed out", "skipped", "no time", "interrupted"]
BAD: tuple[Outcome, ...] = ("failed", "timed out", "interrupted")
"""Outcomes of steps that should have passed."""


@dataclass(frozen=True)
class Finding:
    """One row of a step's table."""

    name: str
    """What was measured or checked."""
    values: Mapping[str, Value]
    """By what they are, with the unit. None: it could not be measured."""


@dataclass(frozen=True)
class StepResult:
    """How one step ended, and what it found until then."""

    group: str
    name: str
    outcome: Outcome
    """"no time": `--minutes` were over before the step could begin or end."""
    reason: str
    """One line that explains every outcome but "passed"."""
    seconds: float
    limit_s: float
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class GpuReport:
    """All steps up to now."""

    machine: str
    fxsr: str
    """Version of fxsr."""
    command: str
    begun: str
    """Date and time, ISO 8601, UTC."""
    seconds: float
    finished: bool
    """False: there are steps that have not been tried yet, or never will be, since the run was interrupted."""
    steps: tuple[StepResult, ...]
    schema: int = SCHEMA

    @property
    def counts(self) -> dict[Outcome, int]:
        """Number of steps by outcome; outcomes that no step had are left out."""
        found = Counter(step.outcome for step in self.steps)
        return {outcome: found[outcome] for outcome in get_args(Outcome) if found[outcome]}

    @property
    def bad(self) -> tuple[StepResult, ...]:
        """The steps that should have passed and did not."""
        return tuple(step for step in self.steps if step.outcome in BAD)

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def to_markdown(self) -> str:
        lines = ["# Hardware report", "", f"`{self.command}`, fxsr {self.fxsr}, {self.begun}, {self.machine}.", ""]
        state = "" if self.finished else " The run has not reached its end."
        lines += [f"{self._summary()} in {self.seconds:.0f} s.{state}", ""]
        if self.bad:
            lines += ["Steps that should have passed and did not:", ""]
            lines += [f"- {step.group}: {step.name}: {step.outcome}: {step.reason}" for step in self.bad] + [""]
        group = None
        for step in self.steps:
            if step.group != group:
                group = step.group
                lines += [f"## {group}", ""]
            lines += [f"### {step.name}", "", _verdict(step), "", *_table(step.findings)]
        return "\n".join(lines).rstrip() + "\n"

    def _summary(self) -> str:
        return ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items()) or "no steps yet"


def write_gpu_report(folder: Path, report: GpuReport) -> None:
    """Write `report.json` and `report.md`, each whole or not at all.

    Raises:
        FxsrError: the folder can't be written to.
    """
    with atomic_path(folder / REPORT) as temporary:
        temporary.write_bytes(report.to_json())
    with atomic_path(folder / "report.md") as temporary:
        temporary.write_text(report.to_markdown(), encoding="utf-8")


def read_gpu_report(data: bytes) -> GpuReport:
    """The report that `GpuReport.to_json` wrote.

    Raises:
        FxsrError: it is something else, or has another schema.
    """
    try:
        report = msgspec.json.decode(data, type=GpuReport)
    except msgspec.DecodeError as error:
        raise FxsrError(f"not a hardware report of fxsr ({error})") from error
    if report.schema != SCHEMA:
        raise FxsrError(f"a hardware report with schema {report.schema}; this fxsr reads {SCHEMA}")
    return report


def show(value: Value) -> str:
    """A value in a table: floating-point numbers with three significant digits or more."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _verdict(step: StepResult) -> str:
    reason = f": {step.reason}" if step.reason else ""
    return f"{step.outcome}{reason} ({step.seconds:.0f} s of {step.limit_s:.0f} s)"


def _table(findings: tuple[Finding, ...]) -> list[str]:
    columns = list(dict.fromkeys(column for finding in findings for column in finding.values))
    columns.sort(key=lambda column: column == "note")  # last: it is long
    if not findings:
        return []
    rows = [[show(finding.name), *(show(finding.values.get(column)) for column in columns)] for finding in findings]
    head = ["", *columns]
    return [*(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)), ""]
