"""Measures models, one by one or in comparison. `fxsr bench` runs this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fxsr.benchmarks.speed.bench import MAX_WARM_UP, Bench, Stats, WarmUp, Workload, part_stats, summarise
from fxsr.benchmarks.speed.interleave import BenchProcess, compare_rounds, interleave
from fxsr.benchmarks.speed.report import (
    Arithmetic,
    BenchReport,
    LayerTime,
    Measurement,
    Rate,
    SpeedComparison,
    UnavailableModel,
)
from fxsr.benchmarks.speed.subjects import Subject, export_subject, open_subject
from fxsr.errors import FxsrError, UsageError
from fxsr.models.manifest import Precision
from fxsr.runtime.machine.name import machine
from fxsr.runtime.session import Device, SessionInfo
from fxsr.runtime.timing import Timing
from fxsr.scratch import scratch_folder
from fxsr.styles.options import check_style_is_free
from fxsr.styles.style_map import DEFAULT_T

DEFAULT_SIZE = (128, 128)
"""Height and width of the input if no engine has a tile size, in LR pixels."""
_STREAMED = 1.0
"""Seconds of running with several batches in flight, to measure the rate on a GPU."""


@dataclass(frozen=True)
class BenchOptions:
    """What to measure, and for how long."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Heights and widths in LR pixels. Empty: an engine's tile, else `DEFAULT_SIZE`."""
    batch: int | None = None
    """Images in a batch. None: the batch of an engine that takes only one, else 1."""
    t: float | None = None
    """One style for all pixels. None: the style of a model with a fixed one, else `DEFAULT_T`."""
    t_map: bool = False
    """Use a random style per pixel instead."""
    device: str = "auto"
    seconds: float = 3.0
    """Least time for each model and size. In a comparison it is divided among the rounds."""
    runs: int = 10
    """Least number of runs."""
    rounds: int = 15
    """Rounds of a comparison."""
    warm_up: float = MAX_WARM_UP
    """Longest warm-up, in seconds."""
    profile: bool = False
    """Also measure layers."""
    trust: bool = False
    """Load engines without a manifest."""


@dataclass
class _RunningSubject:
    """A subject whose session is open, with what was measured so far."""

    subject: Subject
    process: BenchProcess
    workload: Workload
    warm_up: WarmUp = field(default_factory=lambda: WarmUp(0, 0.0, False))
    turns: list[list[Timing]] = field(default_factory=list)


class _Peaks:
    """Peak speeds of devices, each measured once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Device, Precision | None], float | None] = {}

    def of(self, process: BenchProcess) -> float | None:
        """Peak FLOP/s of the device that the process uses."""
        device = process.info.device
        key = device, None if device.is_cpu else process.info.precision
        if key not in self._known:
            self._known[key] = process.call(Bench.peak)
        return self._known[key]


def measure_models(
    subjects: Sequence[Subject],
    options: BenchOptions,
    compare: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> BenchReport:
    """Measure models, each in a process of its own. Models that can't run are left out, and the report says why.

    Args:
        subjects: the models. Checkpoints in forms other than torch are exported first.
        options: what to measure.
        compare: run the models in turns, and compare each with the first.
        on_step: called at the beginning of each step.

    Raises:
        UsageError: the workload does not suit a model.
        FxsrError: no model can run.
    """
    faults: dict[str, FxsrError] = {}
    measurements: list[Measurement] = []
    comparisons: list[SpeedComparison] = []
    peaks = _Peaks()
    with scratch_folder() as folder:
        ready = []
        for number, subject in enumerate(subjects):
            with _collect_error(subject, faults):
                on_step(f"{subject.label}: preparing")
                ready.append(export_subject(subject, Path(folder) / str(number), options.sizes, options.batch or 1))
        groups = [ready] if compare else [[subject] for subject in ready]
        for group in groups:
            for size in options.sizes or (None,):
                remaining = [subject for subject in group if subject.label not in faults]
                found, pairs = _measure_group(remaining, size, options, compare, faults, peaks, on_step)
                measurements += found
                comparisons += pairs
    if faults and not measurements:
        raise next(iter(faults.values()))
    unavailable = tuple(UnavailableModel(label, str(fault)) for label, fault in faults.items())
    return BenchReport(_machine(measurements), tuple(measurements), tuple(comparisons), unavailable)


def _measure_group(
    subjects: Sequence[Subject],
    size: tuple[int, int] | None,
    options: BenchOptions,
    compare: bool,
    faults: dict[str, FxsrError],
    peaks: _Peaks,
    on_step: Callable[[str], None],
) -> tuple[list[Measurement], list[SpeedComparison]]:
    """Measure models that are open at the same time, on one size."""
    with ExitStack() as stack:
        open_subjects: list[tuple[Subject, BenchProcess]] = []
        for subject in subjects:
            with _collect_error(subject, faults):
                on_step(f"{subject.label}: opening")
                opener = partial(open_subject, subject.file.path, subject.form, options.device, options.trust)
                open_subjects.append((subject, stack.enter_context(BenchProcess(opener))))
        common = _common_workload([process.info for _, process in open_subjects], size, options)
        running: list[_RunningSubject] = []
        place = f", {_size_text(common)}" if len(options.sizes) > 1 else ""  # other sizes may fit
        for subject, process in open_subjects:
            with _collect_error(subject, faults, place):
                workload = replace(common, full_map=subject.full_map)
                _check_style(subject, process.info, options)
                on_step(f"{subject.label}, {_size_text(workload)}: warming up")
                process.call(Bench.begin, workload)
                running.append(
                    _RunningSubject(subject, process, workload, process.call(Bench.warm_up, options.warm_up))
                )
        where = _size_text(common)
        if compare:
            rounds = interleave(
                [each.process for each in running],
                options.rounds,
                options.seconds / options.rounds,
                lambda round_: on_step(f"{where}: round {round_ + 1} of {options.rounds}"),
            )
            for each, turns in zip(running, rounds, strict=True):
                each.turns = turns
        else:
            for each in running:
                on_step(f"{each.subject.label}, {where}: timing")
                each.turns = [each.process.call(Bench.sample, options.seconds, options.runs)]
        measured = []
        for each in running:
            on_step(f"{each.subject.label}, {where}: counting")
            measured.append(_measurement(each, options, peaks))
    pairs = [
        SpeedComparison(
            each.subject.label, running[0].subject.label, each.workload, compare_rounds(running[0].turns, each.turns)
        )
        for each in running[1:]
        if compare
    ]
    return measured, pairs


def _measurement(running: _RunningSubject, options: BenchOptions, peaks: _Peaks) -> Measurement:
    process, workload, info = running.process, running.workload, running.process.info
    timings = [timing for turn in running.turns for timing in turn]
    total, compute = (summarise([getattr(timing, part) for timing in timings]) for part in ("total", "compute"))
    stream_rate = process.call(Bench.stream_rate, _STREAMED)
    memory = process.call(Bench.memory)  # before the process loads anything else
    work, notes = _arithmetic(running, compute, peaks)
    if not running.warm_up.stable:
        notes.append(
            f"run times were not stable after {running.warm_up.seconds:.1f} s of warm-up: is the machine busy?"
        )
    layers: list[tuple[str, float]] = []
    if options.profile:
        try:
            layers = process.call(Bench.profile)
        except UsageError as error:
            notes.append(f"layers were not measured: {error}")
    pixels = workload.batch * workload.height * workload.width * info.scale**2 / 1e6

    def rate(batches_per_s: float) -> Rate:
        return Rate(workload.batch * batches_per_s, pixels * batches_per_s)

    return Measurement(
        model=running.subject.label,
        form=running.subject.form,
        backend=info.backend,
        device=str(info.device),
        precision=info.precision,
        scale=info.scale,
        baked_t=info.baked_t,
        workload=workload,
        warm_up=running.warm_up,
        runs=len(timings),
        total=total,
        compute=compute,
        host_to_device=part_stats(timings, "host_to_device"),
        device_to_host=part_stats(timings, "device_to_host"),
        enqueue=part_stats(timings, "enqueue"),
        rate=rate(stream_rate or 1 / total.median),
        compute_rate=rate(1 / compute.median),
        memory=memory,
        work=work,
        notes=tuple(notes),
        layers=tuple(LayerTime(name, seconds) for name, seconds in layers),
    )


def _arithmetic(running: _RunningSubject, compute: Stats, peaks: _Peaks) -> tuple[Arithmetic | None, list[str]]:
    try:
        flop = 2 * running.process.call(Bench.macs, running.subject.file)
    except FxsrError as error:
        return None, [f"the arithmetic could not be counted: {error}"]
    peak = peaks.of(running.process)
    speed = flop / compute.median
    notes = (
        []
        if peak
        else [f"no share of the peak, since torch, which measures it on {running.process.info.device}, is absent"]
    )
    return Arithmetic(flop, speed, peak, speed / peak if peak else None), notes


def _common_workload(infos: Sequence[SessionInfo], size: tuple[int, int] | None, options: BenchOptions) -> Workload:
    """A workload that all models can take."""
    height, width = size or next((info.tile for info in infos if info.tile), DEFAULT_SIZE)
    batch = options.batch if options.batch is not None else next((info.batch for info in infos if info.fixed), 1)
    baked_t = next((info.baked_t for info in infos if info.baked_t is not None), DEFAULT_T)
    t = None if options.t_map else baked_t if options.t is None else options.t
    return Workload(height, width, batch, t)


def _check_style(subject: Subject, info: SessionInfo, options: BenchOptions) -> None:
    t = None if options.t == info.baked_t else options.t
    check_style_is_free(subject.label, info.baked_t, t, options.t_map)


@contextmanager
def _collect_error(subject: Subject, faults: dict[str, FxsrError], place: str = "") -> Iterator[None]:
    """Collect a subject's error instead of raising it."""
    try:
        yield
    except FxsrError as error:
        faults[subject.label + place] = error


def _size_text(workload: Workload) -> str:
    return f"{workload.height}x{workload.width}"


def _machine(measurements: Sequence[Measurement]) -> str:
    """Names the machine, and the packages that ran the models."""
    packages = {measurement.backend for measurement in measurements}
    on_gpu = any(measurement.device != "cpu" for measurement in measurements)
    return machine(*sorted(packages), gpu=on_gpu)
