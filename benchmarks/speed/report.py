"""What `fxsr bench` measured, as `--json` writes it: field by field the dataclasses below.

`schema` is raised when one of them changes its meaning. Times are in seconds, memory in bytes, work in floating-point
operations (FLOP, two for a multiplication with addition), sizes in LR pixels, MPix in millions of pixels of `sr`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from fxsr.benchmarks.speed.bench import PeakMemory, Stats, WarmUp, Workload
from fxsr.benchmarks.speed.interleave import Ratio
from fxsr.errors import FxsrError
from fxsr.files import atomic_path
from fxsr.models.manifest import Precision

SCHEMA = 1


@dataclass(frozen=True)
class Rate:
    """How much is done in a second."""

    images_per_s: float
    mpix_per_s: float


@dataclass(frozen=True)
class Work:
    """Arithmetic of one run, in the convolutions."""

    flop: int
    """Of the graph as it is: rewrites that save arithmetic make it less than the plain network's."""
    flop_per_s: float
    """Over the median of `compute`."""
    peak_flop_per_s: float | None
    """What a matrix product reached on the same device just then; see `flops.probe_gemm`. None: there was nothing to
    measure it with."""
    share: float | None
    """`flop_per_s` of `peak_flop_per_s`. An algorithm that saves arithmetic, as Winograd's does, can exceed 1."""


@dataclass(frozen=True)
class LayerTime:
    """One layer as the backend runs it."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Measurement:
    """One model on one workload."""

    model: str
    """As it was asked for."""
    form: str
    """"torch", "torch-compile", "onnx", "plan", ..."""
    backend: str
    device: str
    precision: Precision
    scale: int
    baked_t: float | None
    """The style that the model is fixed at; `workload` then says what it was not asked."""
    workload: Workload
    warm_up: WarmUp
    runs: int
    total: Stats
    """From host arrays to host arrays."""
    compute: Stats
    """In the model; the same as `total` where nothing is copied."""
    host_to_device: Stats | None
    device_to_host: Stats | None
    enqueue: Stats | None
    """What giving the work to the device took the CPU."""
    rate: Rate
    """Copies included; on a GPU with several batches under way."""
    compute_rate: Rate
    """Of `compute` alone, one batch after the other."""
    memory: PeakMemory
    work: Work | None
    """None: it can't be counted; `notes` say why."""
    notes: tuple[str, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    """With `--profile`: the slowest first."""


@dataclass(frozen=True)
class SpeedComparison:
    """With `--compare`: how many times as fast one model is as the first, both taking turns."""

    model: str
    against: str
    workload: Workload
    ratio: Ratio


@dataclass(frozen=True)
class UnavailableModel:
    """A side of a comparison that could not be run here."""

    model: str
    reason: str


@dataclass(frozen=True)
class BenchReport:
    """All of one `fxsr bench`."""

    machine: str
    measurements: tuple[Measurement, ...]
    comparisons: tuple[SpeedComparison, ...] = ()
    unavailable: tuple[UnavailableModel, ...] = ()
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def write_report(path: Path, report: BenchReport) -> None:
    """Write JSON, whole or not at all.

    Raises:
        FxsrError: the place can't be written to.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(report.to_json())


def read_report(data: bytes) -> BenchReport:
    """What `to_json` wrote.

    Raises:
        FxsrError: it is something else, or of another version.
    """
    try:
        report = msgspec.json.decode(data, type=BenchReport)
    except msgspec.DecodeError as error:
        raise FxsrError(f"not a report of fxsr bench ({error})") from error
    if report.schema != SCHEMA:
        raise FxsrError(f"a report with schema {report.schema}; this fxsr reads {SCHEMA}")
    return report
