"""`fxsr run` without the command line: which files go where. `fxsr.runtime.jobs.pipeline` does them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fxsr.errors import FxsrError, StyleError, UsageError
from fxsr.images.formats import FORMATS, READABLE, WRITABLE
from fxsr.runtime.jobs.places import LocalPlaces, as_url, name_of
from fxsr.styles.style_map import StyleMap


@dataclass(frozen=True)
class Job:
    """One image to upscale."""

    source: Path
    target: Path
    t_map: Path | None = None
    """The style map that goes with it; None where the style is uniform."""


@dataclass(frozen=True)
class Failure:
    """A file that could not be done, and why."""

    file: Path
    reason: str
    error: Exception | None = field(default=None, compare=False, repr=False)
    """What was raised, where something was."""


@dataclass(frozen=True)
class JobPlan:
    """What is to be done, and what can't be."""

    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class RunOptions:
    """How every job is done."""

    t: float
    """The style; where a job has a map, the map's factor."""
    quality: int = 95
    """Of JPEG and WebP, 1..100."""
    skip_existing: bool = False
    """Leave outputs that are there already."""
    t_feather: float = 0
    """Of maps: how far borders are made soft, in pixels of the image."""
    t_range: tuple[float, float] = (0, 1)
    """Of maps: what 0 and 1 become."""
    outscale: float | None = None
    """How many times as large outputs are; None: as many as the model's scale."""
    max_pixels: int | None = None
    """Of an image or style map: larger ones are refused before they are decoded. Outputs may have as many times more as
    the model's scale squared."""


@dataclass(frozen=True)
class Done:
    """One image that was written, or was there already."""

    job: Job
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    """Width and height of what was written; None where it was skipped."""
    notes: tuple[str, ...] = ()


def plan_jobs(
    inputs: Sequence[Path],
    scale: float,
    out: Path | None = None,
    suffix: str | None = None,
    format_name: str | None = None,
    t_map: Path | None = None,
    places: LocalPlaces | None = None,
    resume: bool = False,
) -> JobPlan:
    """Decide what is written where, before anything is.

    Beside the input by default: photo.jpg gives photo_x4.jpg, a folder photos/ gives photos_x4/ with the same tree
    inside. With `out`, names stay as they are unless a suffix is given.

    Args:
        inputs: files, and folders that are searched for images.
        scale: for the default suffix, `_x<scale>`.
        out: a folder, or for a single input file the file to write.
        suffix: put behind each file's stem.
        format_name: one of `fxsr.images.formats.FORMATS`; None keeps each input's, PNG where it can't be written.
        t_map: one style map for all, or a folder of maps: each input gets that of its own place in the folder that it
            was found in, or else that of its stem.
        places: where all these may be; this machine if None.
        resume: inputs that are outputs of others are what an earlier run wrote; they are no inputs.

    Raises:
        UsageError: the arguments contradict each other.
    """
    if format_name is not None and format_name.lower() not in FORMATS:
        raise UsageError(f"format is {format_name!r}; it must be one of {', '.join(FORMATS)}")
    places = places or LocalPlaces()
    if out is not None and out.suffix.lower() in WRITABLE and not places.is_dir(out):
        if len(inputs) != 1 or places.is_dir(inputs[0]):
            raise UsageError(f"{name_of(out)} names one file, but there may be several inputs; give a folder")
        if format_name is not None and FORMATS[format_name.lower()] != FORMATS[out.suffix.lower()[1:]]:
            raise UsageError(f"{out} and --format {format_name} contradict each other")
        jobs = [Job(inputs[0], out)]
    else:
        if out is not None and out.suffix.lower() in READABLE and not places.is_dir(out):
            raise UsageError(f"{out.suffix} can't be written; choose {', '.join(sorted(WRITABLE))}")
        if out is not None and places.is_file(out):
            raise UsageError(f"{out} is a file, but not of a kind that can be written ({', '.join(sorted(WRITABLE))})")
        ending = FORMATS[format_name.lower()] if format_name else None
        jobs = list(_expand(inputs, scale, out, suffix, ending, t_map, places))
    if resume:
        written = {places.absolute(job.target) for job in jobs if job.target != job.source}
        jobs = [job for job in jobs if places.absolute(job.source) not in written]
    failures: list[Failure] = []
    jobs = _refuse(jobs, failures, lambda job: _bad_source(job, places))
    sources = [job.source for job in jobs]
    if t_map is not None:
        jobs = _pair(jobs, t_map, [path for path in inputs if places.is_dir(path)], failures, places)
    maps = {job.t_map for job in jobs if job.t_map}
    jobs = _refuse(jobs, failures, _overwrites(jobs, [*sources, *maps], places))
    return JobPlan(tuple(jobs), tuple(failures))


def failure(job: Job, error: FxsrError | MemoryError | OSError) -> Failure:
    """A job's failure: the others can go on."""
    if isinstance(error, MemoryError):
        reason = "not enough memory for this image; close other programs or give a smaller --tile"
    else:
        reason = str(error).removeprefix(f"{job.source}: ")
    return Failure(job.source, reason, error)


def output_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """Width and height of an image that is made so many times as large."""
    return max(1, round(width * factor)), max(1, round(height * factor))


def _expand(
    inputs: Sequence[Path],
    scale: float,
    out: Path | None,
    suffix: str | None,
    ending: str | None,
    t_map: Path | None,
    places: LocalPlaces,
) -> Iterator[Job]:
    mark = f"_x{scale:g}" if suffix is None else suffix
    for source in inputs:
        if places.is_dir(source):
            whole = places.absolute(source)
            if out is None and not whole.name:
                raise UsageError(f"{source}: there is no place beside it for outputs; give -o FOLDER")
            folder = out or whole.with_name(whole.name + mark)
            found = sorted(_images(source, [folder, *([t_map] if t_map else [])], places))
            if not found:
                yield Job(source, folder)  # refused below, as a folder without images
            for path in found:
                yield Job(path, folder / _renamed(path.relative_to(source), suffix or "", ending))
        else:
            folder, behind = (source.parent, mark) if out is None else (out, suffix or "")
            yield Job(source, folder / _renamed(Path(source.name), behind, ending))


def _images(folder: Path, others: Sequence[Path], places: LocalPlaces) -> Iterator[Path]:
    """Images in a folder and below, without hidden files and without what lies in `others`: outputs of an earlier run,
    style maps."""
    apart = [places.absolute(other) for other in others if places.absolute(other) != places.absolute(folder)]
    for path in places.files(folder):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        elsewhere = any(places.absolute(path).is_relative_to(other) for other in apart)
        if path.suffix.lower() in READABLE and not hidden and not elsewhere:
            yield path


def _renamed(path: Path, mark: str, ending: str | None) -> Path:
    kept = path.suffix if path.suffix.lower() in WRITABLE else ".png"
    return path.with_name(f"{path.stem}{mark}{ending or kept}")


def _refuse(jobs: Iterable[Job], failures: list[Failure], reason: Callable[[Job], str | None]) -> list[Job]:
    kept = []
    for job in jobs:
        if why := reason(job):
            failures.append(Failure(job.source, why))
        else:
            kept.append(job)
    return kept


def _bad_source(job: Job, places: LocalPlaces) -> str | None:
    if places.is_dir(job.source):
        return "no images in this folder"
    if not places.exists(job.source):
        return "no such file"
    return None


def _overwrites(jobs: Iterable[Job], sources: Iterable[Path], places: LocalPlaces) -> Callable[[Job], str | None]:
    inputs = {places.absolute(source): source for source in sources}
    taken: dict[Path, Path] = {}
    for job in sorted(jobs, key=lambda job: job.source.suffix.lower() != job.target.suffix.lower()):
        taken.setdefault(places.absolute(job.target), job.source)  # a.png takes a.png before a.gif does

    def reason(job: Job) -> str | None:
        target = places.absolute(job.target)
        if target in inputs:
            return f"the output would replace the input {inputs[target]}; give --suffix or another -o"
        if (first := taken[target]) != job.source:
            return f"{job.target} is the output of {first} already; give --suffix, --format or run them apart"
        return None

    return reason


def _pair(
    jobs: list[Job], t_map: Path, folders: Sequence[Path], failures: list[Failure], places: LocalPlaces
) -> list[Job]:
    if not places.is_dir(t_map):
        if not as_url(t_map):
            StyleMap.read(t_map)  # one for all: better to know now
        return [replace(job, t_map=t_map) for job in jobs]
    maps: dict[Path, Path] = {}
    """By place in the folder, without suffix."""
    for path in sorted(_images(t_map, [], places)):
        place = path.relative_to(t_map).with_suffix("")
        if place in maps:
            raise StyleError(f"style maps {maps[place]} and {path} have the same stem; keep one")
        maps[place] = path
    paired, used = [], {Path(failure.file.stem) for failure in failures}
    for job in jobs:
        inside = (job.source.relative_to(folder) for folder in folders if job.source.is_relative_to(folder))
        wanted = [path.with_suffix("") for path in inside] + [Path(job.source.stem)]
        used.update(wanted)
        if found := next((maps[place] for place in wanted if place in maps), None):
            paired.append(replace(job, t_map=found))
        else:
            failures.append(Failure(job.source, f"no style map {wanted[0]}.* in {t_map}"))
    if folders or len(jobs) > 1:  # of one image nobody expects that it uses all
        unused = sorted(place for place in maps if place not in used)
        failures.extend(Failure(maps[place], "style map without an input of its name") for place in unused)
    return paired
