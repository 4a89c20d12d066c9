"""The hardware report: how steps are run and what is kept of them. Steps here are small programs of their own."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fxsr.benchmarks.gpu.plan import FULL, GROUPS, REHEARSAL, plan_steps
from fxsr.benchmarks.gpu.report import Finding, GpuReport, StepResult, read_gpu_report, show
from fxsr.benchmarks.gpu.runner import Running, run_steps
from fxsr.benchmarks.gpu.steps import Journal, Step, read_journal, step_command
from fxsr.errors import FxsrError
from tests.schemas import check_schema
from tests.support import wait_until

PASS = "add('found', {'ms': 1.5})"
FAIL = "add('first', {'ms': 1.5}); print('it broke'); sys.exit(1)"
EXPLAINED = "explain('PSNR is 3 dB'); sys.exit(1)"
SKIP = "explain('there is no GPU'); sys.exit(3)"
CRASH = "add('first', {'ms': 1.5}); os.kill(os.getpid(), signal.SIGSEGV)"
HANG = "add('first', {'ms': 1.5}); time.sleep(600)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); add('first', {}); time.sleep(600)"
PRELUDE = """
import json, os, signal, sys, time
journal = sys.argv[1]
def write(entry):
    with open(journal, "a") as file:
        file.write(json.dumps(entry) + "\\n")
def add(name, values): write({"finding": {"name": name, "values": values}})
def explain(reason): write({"reason": reason})
"""


def command_of(step: Step, journal: Path, work: Path) -> list[str]:
    return [sys.executable, "-S", "-c", PRELUDE + step.function, str(journal)]


def steps(*programs: str, limit_s: float = 60) -> list[Step]:
    return [Step("1 group", f"step {number}", program, limit_s) for number, program in enumerate(programs)]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., GpuReport]:
    def run(wanted: list[Step], minutes: float | None = None, resume: bool = False) -> GpuReport:
        running = Running(tmp_path / "out", tmp_path / "work", "a machine", "a command", minutes, resume, 0.5, 0.2)
        report = run_steps(wanted, running, lines.append, command_of)
        assert read_gpu_report((tmp_path / "out" / "report.json").read_bytes()) == report
        return report

    lines: list[str] = []
    run.lines = lines  # type: ignore[attr-defined]
    return run


def outcomes(report: GpuReport) -> list[str]:
    return [step.outcome for step in report.steps]


def test_steps_after_one_that_fails_still_run(run: Callable[..., GpuReport]) -> None:
    report = run(steps(FAIL, CRASH, SKIP, EXPLAINED, PASS))
    assert outcomes(report) == ["failed", "failed", "skipped", "failed", "passed"]
    assert report.finished
    assert report.counts == {"passed": 1, "failed": 3, "skipped": 1}
    assert [step.name for step in report.bad] == ["step 0", "step 1", "step 3"]
    assert len(run.lines) == 5  # type: ignore[attr-defined]


def test_what_a_failing_step_found_and_why_it_failed_is_kept(run: Callable[..., GpuReport]) -> None:
    failed, crashed, skipped, explained = run(steps(FAIL, CRASH, SKIP, EXPLAINED)).steps
    assert failed.findings == crashed.findings == (Finding("first", {"ms": 1.5}),)
    assert failed.reason == "its process ended with exit status 1; last line: it broke"
    assert crashed.reason.startswith("its process was ended by SIGSEGV")
    assert skipped.reason == "there is no GPU"
    assert explained.reason == "PSNR is 3 dB"


@pytest.mark.parametrize("program", [HANG, STUBBORN])
def test_a_step_that_hangs_is_stopped_at_its_limit(program: str, run: Callable[..., GpuReport]) -> None:
    report = run([*steps(program, limit_s=6), Step("1 group", "after", PASS, 60)])
    assert outcomes(report) == ["timed out", "passed"]
    assert report.steps[0].findings[0].name == "first"


def test_processes_that_a_step_started_end_with_it(run: Callable[..., GpuReport], tmp_path: Path) -> None:
    child = f"import os, time; open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program = f"import subprocess; subprocess.Popen([sys.executable, '-S', '-c', {child!r}])\n"
    program += f"while not os.path.exists({str(tmp_path / 'child')!r}): time.sleep(0.01)"
    run(steps(program))
    pid = int((tmp_path / "child").read_text())
    wait_until(lambda: not _is_running(pid))


def test_minutes_cut_from_the_end(run: Callable[..., GpuReport]) -> None:
    report = run(steps(PASS, HANG, PASS), minutes=8 / 60)
    assert outcomes(report) == ["passed", "no time", "no time"]
    assert report.steps[1].findings[0].name == "first"
    assert not report.bad


def test_an_interrupt_ends_the_step_and_completes_the_report(run: Callable[..., GpuReport], tmp_path: Path) -> None:
    program = f"add('first', {{}}); open({str(tmp_path / 'begun')!r}, 'w').close(); time.sleep(600)"

    def interrupt() -> None:
        wait_until((tmp_path / "begun").exists)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored: tests in the background
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(steps(PASS, program, PASS))
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    report = read_gpu_report((tmp_path / "out" / "report.json").read_bytes())
    assert outcomes(report) == ["passed", "interrupted"]
    assert report.steps[1].findings[0].name == "first"
    assert not report.finished


def test_the_report_is_complete_after_every_step(run: Callable[..., GpuReport], tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.json"
    look = f"add('steps', {{'count': len(json.load(open({str(report)!r}))['steps'])}})"
    found = run(steps(look, look, look))
    assert [step.findings[0].values["count"] for step in found.steps] == [0, 1, 2]


def test_a_resumed_run_repeats_what_did_not_pass_and_keeps_the_rest(run: Callable[..., GpuReport]) -> None:
    first = [Step("1 a", "one", PASS, 60), Step("1 a", "two", SKIP, 60), Step("2 b", "three", FAIL, 60)]
    run(first)
    later = [Step("1 a", "one", FAIL, 60), Step("1 a", "two", PASS, 60), Step("1 a", "new", PASS, 60)]
    report = run(later, resume=True)
    assert [(step.name, step.outcome) for step in report.steps] == [
        ("one", "passed"),
        ("two", "passed"),
        ("new", "passed"),
        ("three", "failed"),
    ]
    assert report.finished


def test_a_resumed_run_with_nothing_left_is_finished(run: Callable[..., GpuReport]) -> None:
    run(steps(PASS))
    assert run(steps(PASS), resume=True).finished


def test_the_log_holds_what_all_steps_printed(run: Callable[..., GpuReport], tmp_path: Path) -> None:
    run(steps("print('one')", "print('two', file=sys.stderr)"))
    log = (tmp_path / "out" / "log.txt").read_text()
    assert log.index("===== 1 group: step 0") < log.index("one") < log.index("step 1") < log.index("two")


def test_the_report_as_text_has_a_table_per_step(run: Callable[..., GpuReport], tmp_path: Path) -> None:
    run(steps("add('a', {'ms': 1234.6}); add('b', {'dB': None, 'ok': True})", EXPLAINED))
    text = (tmp_path / "out" / "report.md").read_text()
    assert "1 passed, 1 failed" in text
    assert "- 1 group: step 1: failed: PSNR is 3 dB" in text
    assert "|  | ms | dB | ok |" in text
    assert "| a | 1235 |  |  |" in text
    assert "| b |  |  | yes |" in text


def test_the_schema_in_the_docs_is_that_of_reports() -> None:
    step = StepResult(
        "1 group", "a step", "passed", "", 1.5, 60.0, (Finding("a", {"ms": 1.5, "text": "b", "no": None}),)
    )
    report = GpuReport("a machine", "0.1", "a command", "2026-11-27T12:00:00+00:00", 2.0, True, (step,))
    check_schema("gpu-report.schema.json", json.loads(report.to_json()))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"machine": "a"}'])
def test_other_files_are_no_reports(data: bytes) -> None:
    with pytest.raises(FxsrError, match="not a hardware report"):
        read_gpu_report(data)


@pytest.mark.parametrize(
    ("value", "text"), [(0.012345, "0.0123"), (2.0, "2"), (None, ""), (False, "no"), ("a|b", "a\\|b")]
)
def test_values_are_shown_shortly(value: float | str | bool | None, text: str) -> None:
    assert show(value) == text


def test_a_line_that_was_not_written_to_its_end_is_ignored(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", tmp_path)
    journal.add("a", median_ms=1.0, images_per_s=2)
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'{"finding": {"na')
    assert read_journal(tmp_path / "journal") == ((Finding("a", {"median ms": 1.0, "images/s": 2}),), "")


@pytest.mark.parametrize("scale", [FULL, REHEARSAL])
def test_the_plan_names_functions_that_exist_and_steps_only_once(scale: object) -> None:
    import importlib
    import inspect

    planned = plan_steps(scale)  # type: ignore[arg-type]
    assert len({(step.group, step.name) for step in planned}) == len(planned)
    assert [step.group for step in planned] == sorted(step.group for step in planned)
    assert {step.group for step in planned} == set(GROUPS)
    for step in planned:
        module, _, name = step.function.rpartition(".")
        function = getattr(importlib.import_module(f"fxsr.benchmarks.gpu.{module}"), name)
        inspect.signature(function).bind(None, **json.loads(json.dumps(step.arguments)))


def test_a_step_of_the_report_runs_as_a_process(tmp_path: Path) -> None:
    wanted = [step for step in plan_steps(REHEARSAL) if step.name == "copies"]
    running = Running(tmp_path / "out", tmp_path / "work", "a machine", "a command")
    (result,) = run_steps(wanted, running, lambda line: None, step_command).steps
    assert result.outcome in ("passed", "skipped"), result  # skipped: there is no GPU
    assert result.reason or result.findings


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
