"""The command `python -m fxsr.benchmarks gpu`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated

import typer

_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def gpu(
    out: Annotated[Path, typer.Option("--out", help="Folder for report.md, report.json and log.txt.")],
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="Stop after this time. The most valuable steps come first."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Run only steps whose name contains this text. Repeatable.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work", help="Folder for graphs and engines, which a later run uses again. [default: temporary]"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the report in the folder, and run only steps that have not passed.")
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="Try all steps on the CPU with tiny inputs. The figures mean nothing then."),
    ] = False,
    list_steps: Annotated[bool, typer.Option("--list", help="List the steps with their limits, and run none.")] = False,
) -> None:
    """Check and measure everything on this machine's NVIDIA GPU, and write a report to send in.

    Each step is a process with a time limit. A failed step does not stop the others. Exit status: 0 all steps passed or
    were skipped for a reason; 1 steps failed; 3 nothing could run on a GPU.
    """
    from fxsr.benchmarks.gpu.plan import FULL, REHEARSAL, plan_steps
    from fxsr.benchmarks.gpu.runner import Running, run_steps
    from fxsr.errors import UnavailableError, UsageError
    from fxsr.runtime.machine.gpu import find_gpus
    from fxsr.runtime.machine.name import machine

    steps = [
        step
        for step in plan_steps(REHEARSAL if rehearse else FULL)
        if not only or any(text in f"{step.group}: {step.name}" for text in only)
    ]
    if not steps:
        raise UsageError(f"--only {', '.join(only or [])}: no step has such a name; --list names them")
    if list_steps:
        for step in steps:
            print(f"{step.limit_s:5.0f} s  {step.group}: {step.name}")
        return
    if rehearse:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other are slow on busy CPUs
    where = machine("torch", "onnxruntime", "tensorrt", "tensorrt-rtx", "cuda-python", "cupy", gpu=True)
    with _folder(work) as folder, _ending_is_an_interrupt():
        running = Running(out, folder, where, _command(sys.argv[1:]), minutes, resume)
        try:
            report = run_steps(steps, running, lambda line: print(line, flush=True))
        except KeyboardInterrupt:
            print(f"interrupted; what was measured until then is in {out}", file=sys.stderr)
            raise typer.Exit(_INTERRUPTED) from None
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
    print(f"{counts}; the report is {out / 'report.md'}")
    for bad in report.bad:
        print(f"{bad.outcome}: {bad.group}: {bad.name}: {bad.reason}")
    if report.bad:
        raise typer.Exit(1)
    if not rehearse and not find_gpus():
        raise typer.Exit(UnavailableError.exit_status)


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """The work folder: the given one, which stays, or a temporary one."""
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work.resolve()
        return
    with TemporaryDirectory(prefix="fxsr-gpu-") as folder:
        yield Path(folder)


@contextmanager
def _ending_is_an_interrupt() -> Iterator[None]:
    """Inside the block SIGTERM does what Ctrl-C does: the report is completed first."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(arguments: Sequence[str]) -> str:
    return " ".join(["python -m fxsr.benchmarks", *arguments])
