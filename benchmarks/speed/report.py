"""The report of `fxsr bench`. `--json` writes the dataclasses below, field by field.

`schema` increases when a field changes its meaning. Times are in seconds, memory in bytes, work in floating-point
operations (FLOP; two for each multiply-accumulate), sizes in LR pixels, MPix in millions of pixels of `sr`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from fxsr.benchmarks.speed.bench import PeakMemory, Stats, WarmUp, Workload
from fxsr.benchmarks.speed.interleave import Ratio
from fxsr.errors import FxsrError
from fxsr.files import atomic_path, remove_unfinished
from fxsr.models.manifest import Precision

SCHEMA = 1


@dataclass(frozen=True)
class Rate:
    """Throughput."""

    images_per_s: float
    mpix_per_s: float


@dataclass(frozen=True)
class Arithmetic:
    """Arithmetic of one run, in convolutions."""

    flop: int
    """FLOP of one run of the graph as exported. Rewrites make it less than that of the plain network."""
    flop_per_s: float
    """`flop` divided by the median of `compute`."""
    peak_flop_per_s: float | None
    """FLOP/s of a matrix product, measured on the same device in the same run; see `flops.probe_gemm`. None: it could
    not be measured."""
    share: float | None
    """`flop_per_s` divided by `peak_flop_per_s`. Algorithms that save arithmetic, such as Winograd's, can exceed 1."""


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer, as the backend runs it."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Measurement:
    """One model on one workload."""

    model: str
    """The model argument. A repeated one is numbered, as in "x.onnx (2)"."""
    form: str
    """"torch", "torch-compile", "onnx", "plan", ..."""
    backend: str
    device: str
    precision: Precision
    scale: int
    baked_t: float | None
    """The style that the model is fixed at; it then ignores the workload's style. None: it takes any style."""
    workload: Workload
    warm_up: WarmUp
    runs: int
    total: Stats
    """From host arrays to host arrays."""
    compute: Stats
    """In the model; equal to `total` if nothing is copied."""
    host_to_device: Stats | None
    device_to_host: Stats | None
    enqueue: Stats | None
    """CPU time for submitting the work to the device."""
    rate: Rate
    """Throughput with copies; on a GPU with several batches in flight."""
    compute_rate: Rate
    """Throughput without copies, one batch after the other."""
    memory: PeakMemory
    work: Arithmetic | None
    """None: it could not be counted; `notes` say why."""
    notes: tuple[str, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    """With `--profile`: layers, the slowest first."""


@dataclass(frozen=True)
class SpeedComparison:
    """With `--compare`: how many times as fast a model is as the first, measured in turns."""

    model: str
    against: str
    workload: Workload
    ratio: Ratio


@dataclass(frozen=True)
class UnavailableModel:
    """A model that could not run on this machine."""

    model: str
    reason: str


@dataclass(frozen=True)
class BenchReport:
    """All results of one `fxsr bench`."""

    machine: str
    measurements: tuple[Measurement, ...]
    comparisons: tuple[SpeedComparison, ...] = ()
    unavailable: tuple[UnavailableModel, ...] = ()
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        """The report as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def write_report(path: Path, report: BenchReport) -> None:
    """Write a report as JSON, as a whole or not at all.

    Raises:
        FxsrError: the file can't be written.
    """
    remove_unfinished(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_bytes(report.to_json())


def read_report(data: bytes) -> BenchReport:
    """Read a report that `to_json` wrote.

    Raises:
        FxsrError: this is no report, or it has another schema.
    """
    try:
        report = msgspec.json.decode(data, type=BenchReport)
    except msgspec.DecodeError as error:
        raise FxsrError(f"not a report of fxsr bench ({error})") from error
    if report.schema != SCHEMA:
        raise FxsrError(f"a report with schema {report.schema}, but this fxsr reads {SCHEMA}")
    return report
