"""Where the jobs of a run are done: on this machine here, on a Ray cluster in `fxsr.runtime.jobs.cluster`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from fxsr.files import remove_unfinished
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.jobs.forecast import forecast_jobs
from fxsr.runtime.jobs.jobs import Done, Failure, Forecast, Job, RunOptions
from fxsr.runtime.jobs.pipeline import run_jobs
from fxsr.runtime.jobs.videos import do_video
from fxsr.runtime.session import Closable
from fxsr.runtime.upscale.upscaler import Progress, Upscaler, load

Results: TypeAlias = Generator[Done | Forecast | Failure, None, None]


@dataclass(frozen=True)
class ModelChoice:
    """A model and how to open it; see `fxsr.load` for the values."""

    model: str = DEFAULT_MODEL
    device: str = "auto"
    tile: int | Literal["auto"] | None = None
    overlap: int | None = None
    provider: str = "auto"
    trust: bool = False

    def open(self) -> Upscaler:
        """Open the model on this machine.

        Raises:
            FxsrError: see `fxsr.load`.
        """
        return load(self.model, self.device, self.tile, self.overlap, provider=self.provider, trust=self.trust)


def remove_leftovers(jobs: Sequence[Job]) -> None:
    """Remove what earlier runs that were killed left unfinished in the folders of outputs; not behind URLs."""
    for folder in {job.target.parent for job in jobs if isinstance(job.target, Path)}:
        remove_unfinished(folder)


class Runner(Closable, Protocol):
    """Does the jobs of a run with one model."""

    scale: int
    """The model's upscaling factor."""
    fixed_t: float | None
    """The style that the model was exported with. None: it takes any."""
    note: str = ""
    """One line for the user about where the model runs; see `SessionInfo.note`."""
    reports_progress: bool
    """Whether `run` calls `begin` and the progress it returns, so that a run can be stopped in these calls."""

    def run(self, jobs: Sequence[Job], options: RunOptions, begin: Callable[[Job], Progress]) -> Results:
        """Do jobs, and yield how each ended. To leave the generator early, close it.

        Args:
            begin: called when the upscaling of a job begins; what it returns is called after each tile.

        Raises:
            FxsrError: no job can be done. The failure of a single job is a result.
        """
        ...


class LocalRunner(Runner):
    """Does jobs on this machine.

    Args:
        choice: the model, which is opened here.
        at_once: images in work at once. Videos are upscaled one after the other, after them.
        dry_run: yield forecasts, and write nothing.

    Raises:
        FxsrError: the model can't be opened.
    """

    def __init__(self, choice: ModelChoice, at_once: int = 2, *, dry_run: bool = False) -> None:
        self._upscaler = choice.open()
        self._at_once = at_once
        self._dry_run = dry_run
        self.scale = self._upscaler.scale
        self.fixed_t = self._upscaler.session.info.baked_t
        self.note = self._upscaler.session.info.note
        self.reports_progress = not dry_run

    def run(self, jobs: Sequence[Job], options: RunOptions, begin: Callable[[Job], Progress]) -> Results:
        if self._dry_run:
            yield from forecast_jobs(jobs, self._upscaler, options)
        else:
            remove_leftovers(jobs)
            images = [job for job in jobs if job.video is None]
            with closing(run_jobs(images, self._upscaler, options, begin, self._at_once)) as results:
                yield from results
            for job in jobs:
                if job.video is not None:
                    yield do_video(job, self._upscaler, options, begin)

    def close(self) -> None:
        self._upscaler.close()
