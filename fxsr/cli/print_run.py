"""What `fxsr run` and `fxsr tmap` print: progress, one line per file, or the same as JSON."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fxsr.console import plain_console, print_json
from fxsr.errors import printable
from fxsr.runtime.jobs.jobs import Failure, Forecast

if TYPE_CHECKING:
    from fxsr.runtime.jobs.jobs import Done, Job
    from fxsr.runtime.jobs.places import Place


class RunReport:
    """Reports a run: a line per file and a progress bar over its tiles, or one JSON document at the end.

    Args:
        total: number of jobs.
        check: called before each file and after each tile; raises if the run is to stop.
        quiet: print errors only.
        as_json: print the JSON document.
        names: what to call files that stand for standard input and output. If there are any, lines go to standard
            error.
    """

    def __init__(
        self,
        total: int,
        check: Callable[[], None],
        *,
        quiet: bool = False,
        as_json: bool = False,
        names: Mapping[Place, str] | None = None,
    ) -> None:
        self._check = check
        self._silent = quiet or as_json
        self._json = as_json
        self._names = names or {}
        self._out = plain_console(soft_wrap=True, quiet=self._silent, stderr="-" in self._names.values())
        self._err = plain_console(stderr=True, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            console=self._err,
            transient=True,
            disable=self._silent or not self._err.is_terminal,
        )
        self._total = total
        self._task = self._bar.add_task("")
        self._begun = 0
        self._redirected = ExitStack()
        self.results: list[Done | Forecast | Failure] = []

    @property
    def failed(self) -> bool:
        """Whether any file failed."""
        return any(isinstance(result, Failure) for result in self.results)

    def begin(self, job: Job) -> Callable[[int, int], None]:
        """Begin a file. Returns a function to call with its finished tiles and all its tiles."""
        self._check()
        self._begun += 1
        label = escape(f"[{self._begun}/{self._total}] {printable(self._name(job.source, job.source.name))}")
        self._bar.reset(self._task, description=label)

        def progress(done: int, of: int) -> None:
            self._check()
            self._bar.update(self._task, completed=done, total=of)

        return progress

    def add(self, result: Done | Forecast | Failure) -> None:
        """Report how a file ended."""
        self.results.append(result)
        if self._json:
            return
        if isinstance(result, Failure):
            file, reason = printable(self._name(result.file)), printable(" ".join(result.reason.split()))
            self._err.print(f"fxsr: {file}: {reason}", markup=False)
            return
        source, target = printable(self._name(result.job.source)), printable(self._name(result.job.target))
        self._out.print(f"{source} -> {target} ({_outcome(result)})", markup=False)
        for note in () if self._silent else result.notes:
            self._err.print(f"fxsr: {source}: note: {printable(note)}", markup=False)

    def _name(self, place: Place, otherwise: str | None = None) -> str:
        return self._names.get(place, otherwise or str(place))

    def __enter__(self) -> Self:
        if self._json or "-" in self._names.values():  # keep it free of what libraries print, such as OpenEXR
            self._redirected.enter_context(redirect_stdout(sys.stderr))
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._redirected.close()
        if error is not None:
            return
        if self._json:
            print_json([self._record(result) for result in self.results])
        elif forecasts := [result for result in self.results if isinstance(result, Forecast)]:
            seconds = sum(forecast.seconds for forecast in forecasts)
            self._out.print(f"{len(forecasts)} to write, about {_duration(seconds)}", markup=False)

    def _record(self, result: Done | Forecast | Failure) -> dict[str, Any]:
        if isinstance(result, Failure):
            return {"input": self._name(result.file), "status": "failed", "error": result.reason}
        status = "planned" if isinstance(result, Forecast) else "done" if result.size else "skipped"
        source, target = self._name(result.job.source), self._name(result.job.target)
        record = {"input": source, "status": status, "output": target, "seconds": round(result.seconds, 3)}
        if isinstance(result, Forecast):
            return record | {"size": result.size, "tiles": result.tiles, "notes": result.notes}
        record |= {"size": result.size, "notes": result.notes}
        if result.frames is not None:
            record |= {"frames": result.frames, "frames_per_second": round(result.frames_per_second, 3)}
        if result.lr_psnr is not None:  # JSON has no infinity, which means no difference at all
            record["lr_psnr"] = result.lr_psnr if math.isfinite(result.lr_psnr) else None
        return record


def _outcome(result: Done | Forecast) -> str:
    if isinstance(result, Forecast):
        width, height = result.size
        return f"{width}x{height}, {result.tiles} tiles, about {_duration(result.seconds)}"
    if result.size is None:
        return "exists, skipped"
    measured = "" if result.lr_psnr is None else f", LR-PSNR {result.lr_psnr:.2f} dB"
    pace = f", {result.frames} frames" if result.frames is not None else ""
    speed = f", {result.frames_per_second:.2g} frames/s" if result.frames is not None else ""
    return f"{result.size[0]}x{result.size[1]}{pace}, {result.seconds:.1f} s{speed}{measured}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
