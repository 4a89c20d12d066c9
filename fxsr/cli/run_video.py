"""What `fxsr run` has for videos: its options, and telling videos and images apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fxsr.cli.panels import VIDEO
from fxsr.errors import UsageError

if TYPE_CHECKING:
    from fxsr.cli.stdio import RunFiles
    from fxsr.runtime.jobs.jobs import JobPlan, RunOptions
    from fxsr.runtime.jobs.places import Place
    from fxsr.runtime.video.options import VideoOptions
    from fxsr.styles.automatic.registry import AutomaticStyle

EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        rich_help_panel=VIDEO,
        help="FFmpeg's name of a video encoder, such as libx265, h264_nvenc or ffv1. [default: libx264 with crf=16, or "
        "what PyAV and the output's format have]",
    ),
]
EncoderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder-option",
        metavar="NAME=VALUE",
        rich_help_panel=VIDEO,
        help="An option of the encoder, such as crf=20 or preset=slow; repeat it for several.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", rich_help_panel=VIDEO, help="Go on with videos that an earlier run left unfinished."),
]
SegmentLength = Annotated[
    int,
    typer.Option(
        "--segment",
        min=1,
        max=100_000,
        rich_help_panel=VIDEO,
        help="Frames that are kept together: an interrupted run loses at most so many.",
    ),
]


def plan_inputs(
    files: RunFiles,
    options: RunOptions,
    video: VideoOptions,
    scale: float,
    suffix: str | None,
    format_name: str | None,
    maps: Place | AutomaticStyle | None,
    *,
    ray: str | None,
) -> JobPlan:
    """The jobs for all inputs, images first.

    Raises:
        UsageError: an option is not for videos, or the arguments contradict each other.
        StyleError: a style map can't be read.
    """
    from fxsr.runtime.jobs.jobs import JobPlan
    from fxsr.runtime.jobs.planning import plan_jobs
    from fxsr.runtime.jobs.videos import plan_videos, split_videos

    t = options.style.uniform

    def plan_images() -> JobPlan:
        return plan_jobs(images, scale, files.out, suffix, format_name, maps, options.skip_existing, t)

    images, videos = split_videos(files.inputs, files.out)
    if not videos:
        if video.encoder is not None or video.settings or video.resume:
            raise UsageError("--encoder, --encoder-option and --resume are for videos, and no input is one")
        return plan_images()
    if ray is not None:
        raise UsageError(f"{videos[0]} is a video, and --ray upscales images alone; leave out --ray")
    if files.stdin is not None or files.stdout is not None:
        raise UsageError("videos are read and written as files; give names instead of -")
    if not images and (format_name is not None or options.quality is not None or options.lossless):
        raise UsageError(
            "--format, --quality and --lossless are for images; for a video, give -o NAME.mkv, --encoder ffv1 or "
            "--encoder-option crf=N"
        )
    plan = plan_videos(videos, scale, video, files.out, suffix, maps, alone=not images, uniform_t=t)
    if not images:
        return plan
    others = plan_images()
    return JobPlan((*others.jobs, *plan.jobs), (*others.failures, *plan.failures))
