"""Planning a run: which image is written where, and with which style map, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from fxsr.errors import StyleError, UsageError
from fxsr.images.formats import FORMATS, READABLE, UNWRITABLE, WRITABLE
from fxsr.runtime.jobs.jobs import Failure, Job, JobPlan
from fxsr.runtime.jobs.places import (
    Place,
    absolute,
    exists,
    files,
    is_dir,
    is_file,
    lexical,
    local_copy,
    name_fault,
    within,
)
from fxsr.runtime.video.kinds import WRITABLE_VIDEOS
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import DEFAULT_T, StyleMap


def plan_jobs(
    inputs: Sequence[Place],
    scale: float,
    out: Place | None = None,
    suffix: str | None = None,
    format_name: str | None = None,
    t_map: Place | AutomaticStyle | None = None,
    resume: bool | None = None,
    uniform_t: float = DEFAULT_T,
) -> JobPlan:
    """Decide what is written where.

    By default outputs are written next to their inputs: photo.jpg gives photo_x4.jpg, and a folder photos/ gives
    photos_x4/ with the same tree inside. With `out`, names stay as they are unless a suffix is given.

    Args:
        inputs: files, and folders that are searched for images.
        scale: number in the default suffix, `_x<scale>`.
        out: a folder, or for a single input file the file to write.
        suffix: text that is appended to each file's stem.
        format_name: one of `fxsr.images.formats.FORMATS`; None keeps each input's format, or PNG where that can't be
            written.
        t_map: one style map for all images, which is decoded here, once; a folder of maps, in which each image has the
            map at the same place as in its own folder, or else the map with its stem, or else a uniform style; or maps
            that images make by themselves.
        resume: whether existing outputs are kept. Then inputs that are also outputs of other inputs were written by an
            earlier run, and are left out. None: the command can't do so.
        uniform_t: the style of images that have no map in the folder of maps, which a note names.

    Raises:
        UsageError: the arguments contradict each other, an input is also the output of another one, or the style map
            can't be read.
        StyleError: two maps in the folder have the same stem.
    """
    failures: list[Failure] = []
    if format_name is not None and format_name.lower() not in FORMATS:
        raise UsageError(f"format is {format_name!r}; it must be one of {', '.join(FORMATS)}")
    if out is not None and out.suffix.lower() in WRITABLE and not is_dir(out):
        if len(inputs) != 1 or is_dir(inputs[0]):
            raise UsageError(f"{out} names one file, but there may be several inputs; give a folder")
        if format_name is not None and FORMATS[format_name.lower()] != FORMATS[out.suffix.lower()[1:]]:
            raise UsageError(f"{out} and --format {format_name} contradict each other")
        if suffix is not None:
            raise UsageError(f"{out} is the output's whole name; leave out --suffix, or give a folder")
        jobs = [Job(inputs[0], out)]
    else:
        if out is not None and out.suffix.lower() in READABLE | UNWRITABLE | WRITABLE_VIDEOS and not is_dir(out):
            raise UsageError(f"{out.suffix} can't be written; choose {', '.join(sorted(WRITABLE))}")
        if out is not None and is_file(out):
            raise UsageError(f"{out} is a file, but not of a kind that can be written ({', '.join(sorted(WRITABLE))})")
        ending = FORMATS[format_name.lower()] if format_name else None
        apart = None if isinstance(t_map, AutomaticStyle) else t_map
        jobs = without_repeats(_expand(inputs, scale, out, suffix, ending, apart, failures))
    jobs = refuse(jobs, failures, _source_fault)
    jobs = _without_outputs(jobs, resume)
    originals = {absolute(job.source): job.source for job in jobs}
    if isinstance(t_map, AutomaticStyle):
        jobs = [replace(job, t_map=t_map, notes=t_map.notes) for job in jobs]
    elif t_map is not None:
        if is_dir(t_map):
            jobs, maps = _pair(jobs, t_map, [place for place in inputs if is_dir(place)], uniform_t, failures)
        else:
            jobs, maps = _share(jobs, t_map), [t_map]
        originals |= {absolute(place): place for place in maps}
    jobs = refuse(jobs, failures, target_fault(jobs, originals))
    return JobPlan(tuple(jobs), tuple(failures))


def _expand(
    inputs: Sequence[Place],
    scale: float,
    out: Place | None,
    suffix: str | None,
    ending: str | None,
    t_map: Place | None,
    failures: list[Failure],
) -> Iterator[Job]:
    """A job for each input file and for each image in an input folder. Folders that can't be searched are failures."""
    mark = f"_x{scale:g}" if suffix is None else suffix
    for source in inputs:
        if is_dir(source):
            whole = lexical(source)
            if out is None and not whole.name:
                raise UsageError(f"{source}: there is no place next to it for outputs; give -o FOLDER")
            folder = out or whole.with_name(whole.name + mark)
            before = len(failures)
            inner = sorted(_images(source, [folder, *([t_map] if t_map else [])], failures))
            if not inner and len(failures) == before:
                yield Job(source, folder)  # `_source_fault` refuses it
            for path in inner:
                yield Job(source / str(path), folder / str(_output_name(path, suffix or "", ending)))
        else:
            folder, appended = (source.parent, mark) if out is None else (out, suffix or "")
            yield Job(source, folder / str(_output_name(PurePosixPath(source.name), appended, ending)))


def _images(folder: Place, others: Sequence[Place], failures: list[Failure]) -> Iterator[PurePosixPath]:
    """Images in a folder and the folders below it, as paths relative to it.

    Hidden files and folders are left out, and so is what lies in `others`: outputs of an earlier run, style maps.
    Folders that can't be searched become failures.
    """
    apart = [absolute(other) for other in others if within(absolute(folder), absolute(other)) is None]

    def counts(path: PurePosixPath) -> bool:
        place = absolute(folder / str(path))
        return not path.name.startswith(".") and all(within(place, other) is None for other in apart)

    for path in files(folder, lambda place, reason: failures.append(Failure(place, reason)), counts):
        if path.suffix.lower() in READABLE and counts(path):
            yield path


def _output_name(path: PurePath, suffix: str, ending: str | None) -> PurePath:
    kept = path.suffix if path.suffix.lower() in WRITABLE else ".png"
    return path.with_name(f"{path.stem}{suffix}{ending or kept}")


def without_repeats(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, without those that would do the same again: an input may be named twice, or lie in a named folder."""
    return list({(absolute(job.source), absolute(job.target)): job for job in reversed(list(jobs))}.values())[::-1]


def _without_outputs(jobs: list[Job], resume: bool | None) -> list[Job]:
    """The jobs, without those whose input is the output of another one and was written by an earlier run.

    Raises:
        UsageError: there are such, and `resume` does not ask for this.
    """
    sources = {absolute(job.source) for job in jobs}
    targets = {absolute(job.target): job for job in jobs}
    written = {place: job for place, job in targets.items() if place in sources and place != absolute(job.source)}
    if not written or resume:
        return [job for job in jobs if absolute(job.source) not in written]
    first = next(iter(written.values()))
    advice = "another -o" if resume is None else "--skip-existing if an earlier run wrote it, or else another -o"
    raise UsageError(f"the output of {first.source} would replace the input {first.target}; give {advice}")


def refuse(jobs: Iterable[Job], failures: list[Failure], fault: Callable[[Job], str | None]) -> list[Job]:
    """The jobs that have no fault; the others become failures."""
    kept = []
    for job in jobs:
        if reason := fault(job):
            failures.append(Failure(job.source, reason))
        else:
            kept.append(job)
    return kept


def _source_fault(job: Job) -> str | None:
    if is_dir(job.source):
        return "no images in this folder"
    if not exists(job.source):
        linked = isinstance(job.source, Path) and job.source.is_symlink()
        return "a link to a file that is not there" if linked else "no such file"
    return None


def target_fault(jobs: Iterable[Job], originals: dict[Place, Place]) -> Callable[[Job], str | None]:
    """What is wrong with a job's target: its name is too long, or it would replace one of `originals`, or the output of
    another job."""
    taken: dict[Place, Place] = {}
    for job in sorted(jobs, key=lambda job: job.source.suffix.lower() != job.target.suffix.lower()):
        taken.setdefault(absolute(job.target), job.source)  # a.png has a better claim to a.png than a.gif

    def fault(job: Job) -> str | None:
        if long := name_fault(job.target):
            return f"{long}; rename the input, or give a shorter --suffix or -o"
        target = absolute(job.target)
        if target in originals:
            return f"the output would replace the input {originals[target]}; give another -o"
        if (first := taken[target]) != job.source:
            return f"{job.target} is the output of {first} already; rename one, or run this one apart with another -o"
        return None

    return fault


def _share(jobs: Iterable[Job], t_map: Place) -> list[Job]:
    """The jobs, with one style map, decoded once for all of them."""
    try:
        with local_copy(t_map) as file:
            style = StyleMap.read(file)
    except StyleError as error:
        raise UsageError(str(error)) from error
    return [replace(job, t_map=style) for job in jobs]


def _pair(
    jobs: Iterable[Job], folder: Place, input_folders: Sequence[Place], uniform_t: float, failures: list[Failure]
) -> tuple[list[Job], list[Place]]:
    """The jobs, those that have a style map in a folder with that map, and these maps.

    Jobs without a map get a note. Maps without a job become failures.
    """
    maps: dict[PurePosixPath, Place] = {}
    """Style maps by their path inside the folder, without suffix."""
    for path in sorted(_images(folder, [], failures)):
        key, place = path.with_suffix(""), folder / str(path)
        if key in maps:
            raise StyleError(f"style maps {maps[key]} and {place} have the same stem; keep one")
        maps[key] = place
    jobs = list(jobs)
    paired: list[Job] = []
    found: list[Place] = []
    known = {PurePosixPath(failure.file.stem) for failure in failures}
    for job in jobs:
        inner = (within(job.source, input_folder) for input_folder in input_folders)
        keys = [path.with_suffix("") for path in inner if path is not None] + [PurePosixPath(job.source.stem)]
        known.update(keys)
        if t_map := next((maps[key] for key in keys if key in maps), None):
            paired.append(replace(job, t_map=t_map))
            found.append(t_map)
        else:
            paired.append(without_map(job, str(keys[0]), folder, uniform_t))
    if input_folders or len(jobs) > 1:  # a single image need not use all maps
        failures.extend(
            Failure(maps[key], "style map without an input of its name") for key in sorted(maps) if key not in known
        )
    return paired, found


def without_map(job: Job, name: str, folder: Place, uniform_t: float) -> Job:
    """The job with a note that its map, called `name`, is not in the folder of maps."""
    return replace(job, notes=(f"there is no style map {name}.* in {folder}; it gets t = {uniform_t:g}",))
