"""Videos among the inputs of a run: which output and which style maps belong to each, and doing such a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fxsr.errors import UsageError
from fxsr.images.formats import READABLE, UNWRITABLE, WRITABLE
from fxsr.runtime.jobs.jobs import FAILURES, Done, Failure, Job, JobPlan, RunOptions, job_failure
from fxsr.runtime.jobs.places import Place, absolute, is_dir, is_file, local
from fxsr.runtime.jobs.planning import refuse, target_fault, without_map, without_repeats
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.runtime.video.kinds import FALLBACK, WRITABLE_VIDEOS, is_video
from fxsr.runtime.video.options import VideoOptions
from fxsr.runtime.video.upscale import VideoRequest, upscale_video
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import DEFAULT_T, StyleMap


def split_videos(inputs: Sequence[Place], out: Place | None) -> tuple[list[Place], list[Path]]:
    """The inputs that are no videos, and those that are. Videos in folders are not looked for.

    Raises:
        UsageError: there are both, and `out` names one file.
    """
    videos = [place for place in inputs if isinstance(place, Path) and is_file(place) and is_video(place)]
    others = [place for place in inputs if place not in videos]
    if videos and others and out is not None and _names_file(out, WRITABLE | WRITABLE_VIDEOS):
        raise UsageError(f"{out} names one file, but there are several inputs; give a folder")
    return others, videos


def plan_videos(
    videos: Sequence[Path],
    scale: float,
    options: VideoOptions,
    out: Place | None = None,
    suffix: str | None = None,
    t_map: Place | AutomaticStyle | None = None,
    *,
    alone: bool = True,
    uniform_t: float = DEFAULT_T,
) -> JobPlan:
    """Decide what is written where, as `fxsr.runtime.jobs.planning.plan_jobs` does for images.

    Args:
        t_map: one map for all frames: an image, which is decoded here; a video of maps; a folder in which each video
            has a map, a video or a folder of maps with its stem, or, for a single input, a map for each frame; or maps
            that frames make by themselves.
        alone: whether there are no other inputs.
        uniform_t: the style of videos that have no map in the folder of maps, which a note names.

    Raises:
        UsageError: the arguments contradict each other.
        StyleError: the style map can't be read.
    """
    failures: list[Failure] = []
    if out is not None and _names_file(out, WRITABLE_VIDEOS):
        if len(videos) != 1:
            raise UsageError(f"{out} names one file, but there are several inputs; give a folder")
        if suffix is not None:
            raise UsageError(f"{out} is the output's whole name; leave out --suffix, or give a folder")
        jobs = [Job(videos[0], out, video=options)]
    elif out is not None and (_names_file(out, READABLE | UNWRITABLE) or is_file(out)):
        raise UsageError(f"a video can't be written to {out}; choose {', '.join(sorted(WRITABLE_VIDEOS))}")
    else:
        mark = f"_x{scale:g}" if suffix is None and out is None else suffix or ""
        jobs = without_repeats(
            Job(source, (out or source.parent) / _output_name(source, mark), video=options) for source in videos
        )
    jobs = _with_maps(jobs, t_map, uniform_t, alone=alone and len(jobs) == 1)
    originals = {absolute(job.source): job.source for job in jobs}
    originals |= {absolute(job.t_map): job.t_map for job in jobs if isinstance(job.t_map, Path)}
    return JobPlan(tuple(refuse(jobs, failures, target_fault(jobs, originals))), tuple(failures))


def do_video(job: Job, upscaler: Upscaler, options: RunOptions, begin: Callable[[Job], Progress]) -> Done | Failure:
    """Upscale a video in the calling thread; see `fxsr.runtime.video.upscale.upscale_video`."""
    progress = begin(job)
    try:
        if options.skip_existing and local(job.target).exists():
            return Done(job)
        result = upscale_video(request_of(job, options), upscaler, progress)
    except FAILURES as error:
        return job_failure(job, error)
    notes = (*job.notes, *result.notes)
    rate = result.upscaled / result.seconds
    return Done(job, result.seconds, result.size, notes, result.lr_psnr, result.frames, rate)


def request_of(job: Job, options: RunOptions) -> VideoRequest:
    """What a job asks of `fxsr.runtime.video`."""
    t_map = job.t_map if isinstance(job.t_map, StyleMap | AutomaticStyle | None) else local(job.t_map)
    return VideoRequest(
        local(job.source),
        local(job.target),
        t_map,
        options.style,
        job.video or VideoOptions(),
        options.outscale,
        options.faithful,
    )


def _names_file(out: Place, suffixes: Iterable[str]) -> bool:
    return out.suffix.lower() in suffixes and not is_dir(out)


def _output_name(source: Path, mark: str) -> str:
    kept = source.suffix if source.suffix.lower() in WRITABLE_VIDEOS else FALLBACK
    return f"{source.stem}{mark}{kept}"


def _with_maps(jobs: list[Job], t_map: Place | AutomaticStyle | None, uniform_t: float, *, alone: bool) -> list[Job]:
    if t_map is None:
        return jobs
    if isinstance(t_map, AutomaticStyle):
        return [replace(job, t_map=t_map) for job in jobs]
    path = local(t_map)
    if not path.is_dir():
        style: Place | StyleMap = path if is_file(path) and is_video(path) else StyleMap.read(path)
        return [replace(job, t_map=style) for job in jobs]
    return [_with_map_of(job, path, uniform_t, alone=alone) for job in jobs]


def _with_map_of(job: Job, folder: Path, uniform_t: float, *, alone: bool) -> Job:
    """A job with its map in a folder of maps."""
    own = [path for path in sorted(folder.iterdir()) if path.stem == job.source.stem and path.name[0] != "."]
    own = [path for path in own if path.is_dir() or path.suffix.lower() in READABLE or is_video(path)]
    if own:
        return replace(job, t_map=own[0])
    if alone and any(path.suffix.lower() in READABLE for path in folder.iterdir()):
        return replace(job, t_map=folder)
    return without_map(job, job.source.stem, folder, uniform_t)
