"""Groups 2 and 5 of the hardware report: runs pytest, and counts what passed, failed and was skipped, with reasons."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from fxsr.benchmarks.gpu.steps import Journal
from fxsr.errors import FxsrError, UnavailableError
from fxsr.runtime.backends.providers import import_onnxruntime
from fxsr.runtime.machine.gpu import find_gpus

_CLONE = Path(__file__).parents[2]
"""The clone of FxSR, if this module lies in one: an installed package has no tests."""
_NO_TESTS = 5
"""pytest's exit status if it found no tests."""


@dataclass(frozen=True)
class Suite:
    """The outcome of a run of pytest."""

    passed: int
    failed: dict[str, str]
    """First line of the message, by test. Errors of fixtures and modules count as failures."""
    skipped: dict[str, int]
    """Number of tests by reason."""


def run_tests(journal: Journal, path: str, required: list[str]) -> None:
    """Run tests of the clone in this environment.

    Args:
        journal: of the step.
        path: a file or folder, relative to the clone.
        required: parts without which tests fail instead of being skipped, if they are installed; see
            `tests/requirements.py`. Without a GPU none are.

    Raises:
        UnavailableError: this is no clone, pytest is missing, or all tests were skipped.
        FxsrError: pytest itself failed.
    """
    if not (_CLONE / path).exists():
        raise UnavailableError(f"{path} is not here; run this in a clone of FxSR")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
        command += ["--durations=10", f"--junit-xml={file}", path]
        environment = os.environ | {"FXSR_REQUIRE": ",".join(filter(_is_installed, required))}
        done = subprocess.run(command, cwd=_CLONE, env=environment, check=False)
        if not file.is_file():
            raise FxsrError(f"pytest ended with exit status {done.returncode} and wrote no results; see the log")
        suite = read_junit(file)
    failures, skips = len(suite.failed), sum(suite.skipped.values())
    journal.add(path, passed=suite.passed, failed=failures, skipped=skips)
    for test, message in suite.failed.items():
        journal.add(test, note=f"failed: {message}")
    if suite.failed:
        test, message = next(iter(suite.failed.items()))
        journal.fail(f"{failures} of {suite.passed + failures} tests failed, such as {test}: {message}")
    for reason, count in suite.skipped.items():
        journal.add(f"{count} skipped", note=reason)
    if suite.passed == 0 and not suite.failed:
        raise UnavailableError("no test ran: " + ("; ".join(suite.skipped) or "none was found"))
    if done.returncode not in (0, 1, _NO_TESTS):
        raise FxsrError(f"pytest ended with exit status {done.returncode}")


def _is_installed(part: str) -> bool:
    """Whether a part of `tests/requirements.py` is installed on this machine, so that it should work."""
    if not find_gpus():
        return False
    if part == "onnxruntime":
        has_any = importlib.util.find_spec("onnxruntime") is not None
        return has_any and "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()
    module = {"cuda": "torch", "tensorrt-rtx": "tensorrt_rtx"}.get(part, part)
    return importlib.util.find_spec(module) is not None


def read_junit(path: Path) -> Suite:
    """Read the results that pytest wrote with `--junit-xml`.

    Raises:
        FxsrError: the file is damaged.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise FxsrError(f"{path}: not results of pytest ({error})") from error
    passed, failed, skipped = 0, {}, Counter[str]()
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
        fault = next((found for kind in ("failure", "error") if (found := case.find(kind)) is not None), None)
        skip = case.find("skipped")
        if fault is not None:
            failed[name] = _first_line(fault)
        elif skip is not None:
            skipped[_first_line(skip)] += 1
        else:
            passed += 1
    return Suite(passed, failed, dict(skipped))


def _first_line(element: ElementTree.Element) -> str:
    """The reason of a skip or failure. For a skipped module pytest puts it into the text, after the file's name."""
    message = element.get("message") or ""
    text = element.text or ""
    if message == "collection skipped" and "Skipped: " in text:
        message = text.rpartition("Skipped: ")[2].rstrip("')\n ")
    return (message.splitlines() or text.splitlines() or ["no message"])[0][:300]
