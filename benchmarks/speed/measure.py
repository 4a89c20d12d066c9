"""How fast models are, one by one or against each other. What `fxsr bench` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fxsr.benchmarks.speed.bench import MOST_WARM_UP, Bench, Stats, WarmUp, Workload, part_stats, summarise
from fxsr.benchmarks.speed.interleave import Worker, compare_rounds, interleave
from fxsr.benchmarks.speed.report import (
    BenchReport,
    LayerTime,
    Measurement,
    Rate,
    SpeedComparison,
    UnavailableModel,
    Work,
)
from fxsr.benchmarks.speed.subjects import Subject, make_file, open_subject
from fxsr.errors import FxsrError, UsageError
from fxsr.models.manifest import Precision
from fxsr.runtime.machine.name import machine
from fxsr.runtime.session import Device, SessionInfo
from fxsr.runtime.timing import Timing
from fxsr.styles.style_map import DEFAULT_T

DEFAULT_SIZE = (128, 128)
"""Height and width of what is run where no engine says its tile."""
_STREAMED = 1.0
"""Seconds of batches under way at once, for the rate on a GPU."""


@dataclass(frozen=True)
class BenchOptions:
    """What to run, and for how long."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Heights and widths in LR pixels. None: an engine's own tile, else `DEFAULT_SIZE`."""
    batch: int | None = None
    """None: what an engine of a fixed batch takes, else 1."""
    t: float | None = None
    """One style, given as 1x1. None: that of a model that has but one, else `DEFAULT_T`."""
    t_map: bool = False
    """A style per pixel instead."""
    device: str = "auto"
    seconds: float = 3.0
    """Of timed runs on each size, `runs` of them at least. In a comparison: shared by the rounds."""
    runs: int = 10
    rounds: int = 15
    """Of a comparison."""
    warm_up: float = MOST_WARM_UP
    """Seconds after which waiting for steady runs is given up."""
    profile: bool = False
    """Also ask for the layers' times."""
    trust: bool = False
    """Load engines without a manifest."""


@dataclass
class _Side:
    """A subject that runs, and what is known of it so far."""

    subject: Subject
    worker: Worker
    workload: Workload
    warm_up: WarmUp = field(default_factory=lambda: WarmUp(0, 0.0, False))
    turns: list[list[Timing]] = field(default_factory=list)


class _Peaks:
    """What devices reach, each measured once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Device, Precision | None], float | None] = {}

    def of(self, worker: Worker) -> float | None:
        device = worker.info.device
        key = device, None if device.is_cpu else worker.info.precision
        if key not in self._known:
            self._known[key] = worker.call(Bench.peak)
        return self._known[key]


def measure_models(
    subjects: Sequence[Subject],
    options: BenchOptions,
    compare: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> BenchReport:
    """Time models, each in a process of its own. What can't be run is left out, and the report says why.

    Args:
        subjects: the models. Checkpoints in other forms than torch are exported first.
        options: what to run.
        compare: let them take turns, and say how each compares with the first.
        tell: hears of each step.

    Raises:
        UsageError: the workload does not suit a model.
        FxsrError: no model can be run.
    """
    faults: dict[str, FxsrError] = {}
    measurements: list[Measurement] = []
    comparisons: list[SpeedComparison] = []
    peaks = _Peaks()
    with TemporaryDirectory() as folder:
        ready = []
        for number, subject in enumerate(subjects):
            with _tolerating(subject, faults):
                tell(f"{subject.label}: preparing")
                ready.append(make_file(subject, Path(folder) / str(number), options.sizes, options.batch or 1))
        groups = [ready] if compare else [[subject] for subject in ready]
        for group in groups:
            for size in options.sizes or (None,):
                remaining = [subject for subject in group if subject.label not in faults]
                found, pairs = _measure_group(remaining, size, options, compare, faults, peaks, tell)
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
    tell: Callable[[str], None],
) -> tuple[list[Measurement], list[SpeedComparison]]:
    """Of models that run at the same time, on one size."""
    with ExitStack() as stack:
        opened: list[tuple[Subject, Worker]] = []
        for subject in subjects:
            with _tolerating(subject, faults):
                tell(f"{subject.label}: opening")
                opener = partial(open_subject, subject.file.path, subject.form, options.device, options.trust)
                opened.append((subject, stack.enter_context(Worker(opener))))
        common = _common_workload([worker.info for _, worker in opened], size, options)
        sides: list[_Side] = []
        place = f", {_text(common)}" if len(options.sizes) > 1 else ""  # other sizes may fit
        for subject, worker in opened:
            with _tolerating(subject, faults, place):
                workload = replace(common, full_map=subject.full_map)
                _check_style(subject, worker.info, options)
                tell(f"{subject.label}, {_text(workload)}: warming up")
                worker.call(Bench.begin, workload)
                sides.append(_Side(subject, worker, workload, worker.call(Bench.warm_up, options.warm_up)))
        where = _text(common)
        if compare:
            rounds = interleave(
                [side.worker for side in sides],
                options.rounds,
                options.seconds / options.rounds,
                lambda round_: tell(f"{where}: round {round_ + 1} of {options.rounds}"),
            )
            for side, turns in zip(sides, rounds, strict=True):
                side.turns = turns
        else:
            for side in sides:
                tell(f"{side.subject.label}, {where}: timing")
                side.turns = [side.worker.call(Bench.sample, options.seconds, options.runs)]
        measured = []
        for side in sides:
            tell(f"{side.subject.label}, {where}: counting")
            measured.append(_measurement(side, options, peaks))
    pairs = [
        SpeedComparison(
            side.subject.label, sides[0].subject.label, side.workload, compare_rounds(sides[0].turns, side.turns)
        )
        for side in sides[1:]
        if compare
    ]
    return measured, pairs


def _measurement(side: _Side, options: BenchOptions, peaks: _Peaks) -> Measurement:
    worker, workload, info = side.worker, side.workload, side.worker.info
    timings = [timing for turn in side.turns for timing in turn]
    total, compute = (summarise([getattr(timing, part) for timing in timings]) for part in ("total", "compute"))
    stream_rate = worker.call(Bench.stream_rate, _STREAMED)
    memory = worker.call(Bench.memory)  # before anything else is loaded over there
    work, notes = _work(side, compute, peaks)
    if not side.warm_up.stable:
        notes.append(f"runs did not settle within {side.warm_up.seconds:.1f} s of warm-up: is the machine busy?")
    layers: list[tuple[str, float]] = []
    if options.profile:
        try:
            layers = worker.call(Bench.profile)
        except UsageError as error:
            notes.append(f"no layers: {error}")
    pixels = workload.batch * workload.height * workload.width * info.scale**2 / 1e6

    def rate(batches_per_s: float) -> Rate:
        return Rate(workload.batch * batches_per_s, pixels * batches_per_s)

    return Measurement(
        model=side.subject.label,
        form=side.subject.form,
        backend=info.backend,
        device=str(info.device),
        precision=info.precision,
        scale=info.scale,
        baked_t=info.baked_t,
        workload=workload,
        warm_up=side.warm_up,
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


def _work(side: _Side, compute: Stats, peaks: _Peaks) -> tuple[Work | None, list[str]]:
    try:
        flop = 2 * side.worker.call(Bench.macs, side.subject.file)
    except FxsrError as error:
        return None, [f"its arithmetic is not counted: {error}"]
    peak = peaks.of(side.worker)
    speed = flop / compute.median
    notes = (
        [] if peak else [f"no share of the peak: torch, which would measure it on {side.worker.info.device}, is absent"]
    )
    return Work(flop, speed, peak, speed / peak if peak else None), notes


def _common_workload(infos: Sequence[SessionInfo], size: tuple[int, int] | None, options: BenchOptions) -> Workload:
    """What all sides can be given."""
    height, width = size or next((info.tile for info in infos if info.tile), DEFAULT_SIZE)
    batch = options.batch if options.batch is not None else next((info.batch for info in infos if info.fixed), 1)
    baked = next((info.baked_t for info in infos if info.baked_t is not None), DEFAULT_T)
    t = None if options.t_map else baked if options.t is None else options.t
    return Workload(height, width, batch, t)


def _check_style(subject: Subject, info: SessionInfo, options: BenchOptions) -> None:
    if info.baked_t is None:
        return
    if options.t_map or options.t not in (None, info.baked_t):
        raise UsageError(f"{subject.label}: exported with t fixed at {info.baked_t:g}; leave out --t and --t-map")


@contextmanager
def _tolerating(subject: Subject, faults: dict[str, FxsrError], place: str = "") -> Iterator[None]:
    """Keep a subject's error for later, and go on."""
    try:
        yield
    except FxsrError as error:
        faults[subject.label + place] = error


def _text(workload: Workload) -> str:
    return f"{workload.height}x{workload.width}"


def _machine(measurements: Sequence[Measurement]) -> str:
    """Where these were taken: the machine, and the packages that ran them."""
    packages = {measurement.backend for measurement in measurements}
    on_gpu = any(measurement.device != "cpu" for measurement in measurements)
    return machine(*sorted(packages), gpu=on_gpu)
