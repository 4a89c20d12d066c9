"""Runs the steps of the hardware report one after the other, and writes the report after each."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import fxsr
from fxsr.benchmarks.gpu.report import REPORT, GpuReport, Outcome, StepResult, read_gpu_report, write_gpu_report
from fxsr.benchmarks.gpu.steps import Step, read_journal, step_command
from fxsr.errors import UnavailableError

LEAST_S = 5.0
"""No step begins with less time than this."""
GRACE_S = 5.0
"""Seconds that a process has to end by itself after it was asked to."""
_LOG = "log.txt"
_LINE = 200
"""Longest line that is quoted from a log, in characters."""


@dataclass(frozen=True)
class Running:
    """How the steps are run."""

    folder: Path
    """Where `report.json`, `report.md` and `log.txt` are written."""
    work: Path
    """Where steps keep graphs and engines for later steps."""
    machine: str
    command: str
    """What the user typed."""
    minutes: float | None = None
    """Time for all steps. None: as long as they take."""
    resume: bool = False
    """Keep the steps of the report in `folder`, and run only those that have not passed."""
    grace_s: float = GRACE_S
    least_s: float = LEAST_S


def run_steps(
    steps: Sequence[Step],
    running: Running,
    tell: Callable[[str], None],
    command_of: Callable[[Step, Path, Path], list[str]] = step_command,
) -> GpuReport:
    """Run steps in order, whatever becomes of each, and write the report after each of them.

    Args:
        steps: the most valuable first: `minutes` cut from the end.
        running: how.
        tell: is called with one line per step when the step has ended.
        command_of: the command that starts a step's process, given the step, its journal and the work folder.

    Raises:
        KeyboardInterrupt: the run was interrupted. The report is written, and the step's process has ended.
        FxsrError: the report can't be written.
    """
    begin = time.monotonic()
    running.folder.mkdir(parents=True, exist_ok=True)
    running.work.mkdir(parents=True, exist_ok=True)
    earlier = _earlier_results(running)
    if not earlier:
        (running.folder / _LOG).write_bytes(b"")
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    report = GpuReport(running.machine, fxsr.__version__, running.command, begun, 0.0, False, earlier)
    write_gpu_report(running.folder, report)
    passed = {(result.group, result.name) for result in earlier if result.outcome == "passed"}
    steps = [step for step in steps if (step.group, step.name) not in passed]
    if not steps:
        report = replace(report, finished=True)
        write_gpu_report(running.folder, report)
    for number, step in enumerate(steps, 1):
        left = None if running.minutes is None else running.minutes * 60 - (time.monotonic() - begin)
        result, interrupt = _run(step, left, running, command_of)
        report = replace(
            report,
            seconds=time.monotonic() - begin,
            steps=_with_result(report.steps, result),
            finished=number == len(steps) and interrupt is None,
        )
        write_gpu_report(running.folder, report)
        reason = f": {result.reason}" if result.reason else ""
        tell(f"{number}/{len(steps)} {step.group}: {step.name}: {result.outcome} ({result.seconds:.0f} s){reason}")
        if interrupt is not None:
            raise interrupt
    return report


def _earlier_results(running: Running) -> tuple[StepResult, ...]:
    """The steps of the report that is to be resumed, if there is one.

    Raises:
        FxsrError: it can't be read.
    """
    path = running.folder / REPORT
    return read_gpu_report(path.read_bytes()).steps if running.resume and path.is_file() else ()


def _with_result(results: tuple[StepResult, ...], new: StepResult) -> tuple[StepResult, ...]:
    """Results with a new one in the place of the same step's earlier one, or at the end of its group."""
    key = (new.group, new.name)
    keys = [(result.group, result.name) for result in results]
    if key in keys:
        at = keys.index(key)
        return (*results[:at], new, *results[at + 1 :])
    at = sum(group <= new.group for group, _ in keys)
    return (*results[:at], new, *results[at:])


def _run(
    step: Step, left: float | None, running: Running, command_of: Callable[[Step, Path, Path], list[str]]
) -> tuple[StepResult, KeyboardInterrupt | None]:
    """Run one step. The second value is the interrupt that ended it, if one did."""
    if left is not None and left < running.least_s:
        return StepResult(step.group, step.name, "no time", "--minutes are over", 0.0, step.limit_s), None
    limit = step.limit_s if left is None else min(step.limit_s, left)
    journal = running.folder / ".journal"
    journal.unlink(missing_ok=True)
    log_path = running.folder / _LOG
    command = command_of(step, journal, running.work)
    interrupt: KeyboardInterrupt | None = None
    timed_out = False
    with log_path.open("ab") as log:
        log.write(f"\n===== {step.group}: {step.name}: {step.function}\n".encode())
        log.flush()
        start = log.tell()
        begin = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), start_new_session=True
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            timed_out = True
        except KeyboardInterrupt as error:
            interrupt = error
        finally:
            _end(process, running.grace_s)
        seconds = time.monotonic() - begin
    findings, reason = read_journal(journal)
    journal.unlink(missing_ok=True)
    outcome: Outcome
    if interrupt is not None:
        outcome, reason = "interrupted", "the run was interrupted"
    elif timed_out and limit < step.limit_s:
        outcome, reason = "no time", f"--minutes were over after {seconds:.0f} s of this step"
    elif timed_out:
        outcome, reason = "timed out", f"stopped after its limit of {limit:.0f} s; {_last_line(log_path, start)}"
    elif process.returncode == 0:
        outcome, reason = "passed", ""
    elif process.returncode == UnavailableError.exit_status:
        outcome = "skipped"
    else:
        outcome = "failed"
        reason = reason or f"{_ending(process.returncode)}; {_last_line(log_path, start)}"
    return StepResult(step.group, step.name, outcome, reason, seconds, limit, findings), interrupt


def _environment() -> dict[str, str]:
    """Of steps: plain text without colours, at once."""
    return os.environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "180", "PYTHONFAULTHANDLER": "1"}


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a step's process and all that it started, such as servers and measuring processes."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(grace_s)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nothing of its group is left
        os.killpg(process.pid, number)


def _ending(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with exit status {status}"


def _last_line(log: Path, start: int) -> str:
    """The last line that a step printed, as a hint."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"last line: {last[:_LINE]}" if last else "it printed nothing"
