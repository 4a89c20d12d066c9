"""What a run consists of, as values: jobs, how they are done, and how each ended.

`planning` makes jobs from the user's inputs, `runner` does them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fxsr.errors import FxsrError
from fxsr.runtime.jobs.places import Place
from fxsr.runtime.video.options import VideoOptions
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.options import StyleOptions
from fxsr.styles.style_map import StyleMap


@dataclass(frozen=True)
class Job:
    """One image or video to upscale."""

    source: Place
    target: Place
    t_map: StyleMap | AutomaticStyle | Place | None = None
    """Its style map: one that many jobs share, already decoded; one that the image makes by itself; or a file of its
    own. None: the style is uniform."""
    notes: tuple[str, ...] = ()
    """What planning has to say about it, one line each."""
    video: VideoOptions | None = None
    """How it is written if it is a video. None: it is an image."""


@dataclass(frozen=True)
class RunOptions:
    """How every job is done."""

    style: StyleOptions = field(default_factory=StyleOptions)
    quality: int | None = None
    """Quality of JPEG and WebP, 1..100. None: 95, and lossless WebP stays lossless."""
    skip_existing: bool = False
    """Leave existing outputs as they are."""
    outscale: float | None = None
    """Size of outputs relative to their inputs; None: the model's scale."""
    lossless: bool = False
    """Whether outputs must hold all pixels exactly; JPEG files can't."""
    faithful: float | None = None
    """Smallest LR-PSNR in dB; see `fxsr.runtime.upscale.faithful`. None: it is not measured."""
    max_pixels: int | None = None
    """Largest number of pixels in an image or style map; larger ones are refused before they are decoded. Outputs may
    have this number times the square of the model's scale. None: no limit."""


@dataclass(frozen=True)
class JobPlan:
    """What a run is to do, and what it can't do."""

    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Done:
    """A job whose output was written, or existed already."""

    job: Job
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    """Width and height of the output; None if the job was skipped."""
    notes: tuple[str, ...] = ()
    """What could not be kept or had to be changed, one line each."""
    lr_psnr: float | None = None
    """LR-PSNR in dB, of a video's worst frame; None if it was not measured."""
    frames: int | None = None
    """Number of frames of a video; None for an image."""
    frames_per_second: float = 0.0
    """How many frames of a video were upscaled in a second."""


@dataclass(frozen=True)
class Forecast:
    """What a job would do."""

    job: Job
    size: tuple[int, int]
    """Width and height of the output."""
    tiles: int
    """Number of tiles, those of alpha included. Tiles with constant alpha count, but cost nothing."""
    seconds: float
    """Estimated time of upscaling, without decoding and encoding."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A file that could not be upscaled."""

    file: Place
    reason: str


FAILURES = (FxsrError, MemoryError, OSError)
"""Errors that end one job; the other jobs are still done."""


def job_failure(job: Job, error: FxsrError | MemoryError | OSError) -> Failure:
    """The failure of a job that raised one of `FAILURES`."""
    if isinstance(error, MemoryError):
        return Failure(job.source, "not enough memory for this image; close other programs or give a smaller --tile")
    return Failure(job.source, str(error).removeprefix(f"{job.source}: "))


def output_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """Width and height of an image of `width` x `height` after scaling by `factor`; at least 1x1."""
    return max(1, round(width * factor)), max(1, round(height * factor))
