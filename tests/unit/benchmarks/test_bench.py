from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fxsr.benchmarks.speed.bench import (
    Bench,
    PeakMemory,
    Stats,
    WarmUp,
    Workload,
    part_stats,
    peak_host_bytes,
    sample,
    summarise,
    warm_up,
)
from fxsr.benchmarks.speed.flops import count_macs, graph_macs, network_macs
from fxsr.benchmarks.speed.interleave import BenchProcess, Ratio, bootstrap_ratio, compare_rounds, interleave
from fxsr.benchmarks.speed.report import (
    Arithmetic,
    BenchReport,
    Measurement,
    Rate,
    SpeedComparison,
    UnavailableModel,
    read_report,
)
from fxsr.benchmarks.speed.subjects import parse_subject, parse_subjects
from fxsr.errors import FxsrError, UnavailableError, UsageError
from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.models.checkpoint import load_checkpoint
from fxsr.models.config import NetworkConfig
from fxsr.models.file import ModelFile, ModelFileKind, find_model
from fxsr.runtime.session import Session
from fxsr.runtime.timing import Timing
from tests.support import NearestSession


class FakeClock:
    """Time that passes only when something is run: each run takes the next duration, the last one for ever."""

    def __init__(self, *durations: float) -> None:
        self.now = 0.0
        self._durations = self._endless(durations)

    @staticmethod
    def _endless(durations: tuple[float, ...]) -> Iterator[float]:
        yield from durations
        while True:
            yield durations[-1]

    def __call__(self) -> float:
        return self.now

    def run(self) -> Timing:
        taken = next(self._durations)
        self.now += taken
        return Timing(taken, taken)


def test_statistics_are_those_computed_by_hand() -> None:
    stats = summarise([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (stats.median, stats.min) == (3.0, 1.0)
    assert (stats.p90, stats.p99, stats.spread) == pytest.approx((4.6, 4.96, 2 / 3))


def test_a_single_run_has_no_spread() -> None:
    assert summarise([0.5]) == Stats(0.5, 0.5, 0.5, 0.5, 0.0)


def test_parts_that_a_backend_does_not_tell_have_no_statistics() -> None:
    timings = [Timing(2.0, 1.0, enqueue=0.1), Timing(4.0, 3.0, enqueue=0.3)]
    enqueue = part_stats(timings, "enqueue")
    assert part_stats(timings, "host_to_device") is None
    assert enqueue is not None
    assert enqueue.median == pytest.approx(0.2)


def test_warm_up_goes_on_until_runs_are_alike() -> None:
    clock = FakeClock(3.0, 2.0, 1.0, 0.25)
    assert warm_up(clock.run, 0.5, 60.0, clock) == WarmUp(runs=6, seconds=6.75, stable=True)


def test_warm_up_lasts_its_least_time_though_runs_are_alike() -> None:
    clock = FakeClock(0.125)
    assert warm_up(clock.run, 1.0, 60.0, clock) == WarmUp(runs=8, seconds=1.0, stable=True)


def test_warm_up_gives_up_on_runs_that_never_are_alike() -> None:
    clock = FakeClock(*(1.0, 2.0) * 50)
    assert not warm_up(clock.run, 0.5, 10.0, clock).stable


def test_a_window_of_short_runs_holds_many() -> None:
    clock = FakeClock(2**-10)
    assert warm_up(clock.run, 0.0, 60.0, clock).runs == 3 * math.ceil(0.1 * 2**10)


@pytest.mark.parametrize(("seconds", "runs", "expected"), [(0.0, 3, 3), (1.0, 1, 4), (1.0, 9, 9)])
def test_sampling_takes_the_runs_and_the_seconds_asked_for(seconds: float, runs: int, expected: int) -> None:
    clock = FakeClock(0.25)
    assert len(sample(clock.run, seconds, runs, clock)) == expected


def test_rounds_are_compared_by_the_medians_of_their_turns() -> None:
    base = [[Timing(s, s) for s in turn] for turn in ([2.0, 9.0, 2.0], [4.0])]
    other = [[Timing(s, s) for s in turn] for turn in ([1.0], [1.0, 1.0])]
    found = compare_rounds(base, other)
    assert found.median == 3.0
    assert (found.low, found.high, found.rounds) == (2.0, 4.0, 2)


def test_equal_ratios_have_an_interval_of_no_width() -> None:
    assert bootstrap_ratio([1.5] * 7) == Ratio(1.5, 1.5, 1.5, 7)


def test_the_interval_is_the_same_every_time_and_holds_the_median() -> None:
    ratios = list(np.random.default_rng(3).normal(2.0, 0.1, 25))
    first = bootstrap_ratio(ratios)
    assert first == bootstrap_ratio(ratios)
    assert min(ratios) <= first.low < first.median < first.high <= max(ratios)
    wider = bootstrap_ratio(ratios[:6])
    assert wider.high - wider.low > first.high - first.low


def test_a_known_convolution_has_the_arithmetic_computed_by_hand() -> None:
    import onnx
    import onnx_ir as ir
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, (8, 3, 3, 5), [0.0] * 360)
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 1], pads=[1, 2, 1, 2], group=2)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 6, "h", "w"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 8, "H", "W"))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    # 2 images, 8 channels out, 10/2 x 7 places, each of 6/2 channels by 3 x 5 taps
    assert graph_macs(ir.from_proto(model), {"x": (2, 6, 10, 7)}) == 2 * 8 * 5 * 7 * 3 * 3 * 5


@pytest.mark.parametrize(("scale", "millions"), [(4, 19.48), (8, 23.69)])
def test_the_published_networks_have_the_known_arithmetic(scale: int, millions: float) -> None:
    one = (1, 3, 1, 1), (1, 1, 1, 1)
    assert network_macs(NetworkConfig(scale=scale), *one) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_rewrites_and_a_single_style_save_arithmetic(tmp_path: Path) -> None:
    lr, full, one = (1, 3, 24, 20), (1, 1, 24, 20), (1, 1, 1, 1)
    checkpoint, graph = (find_model(DEFAULT_MODEL, kind) for kind in (ModelFileKind.CHECKPOINT, ModelFileKind.ONNX))
    plain, rewritten = count_macs(checkpoint, lr, full), count_macs(graph, lr, full)
    assert count_macs(graph, lr, one) == rewritten < plain  # in the blocked layout styles are as large as the picture
    assert count_macs(graph, (2, *lr[1:]), (2, *full[1:])) == 2 * rewritten
    small = ModelFile(tmp_path / "small.onnx", ModelFileKind.ONNX)
    write_onnx(load_checkpoint(checkpoint.path), GraphOptions(blocked=False), small.path)
    assert count_macs(small, lr, one) < count_macs(small, lr, full) < plain


@pytest.mark.parametrize(
    ("workload", "t_shape"),
    [
        (Workload(8, 6, 2), (1, 1, 1, 1)),
        (Workload(8, 6, 2, full_map=True), (1, 1, 8, 6)),
        (Workload(8, 6, 2, t=None), (2, 1, 8, 6)),
    ],
)
def test_styles_have_the_shape_that_was_asked_for(workload: Workload, t_shape: tuple[int, ...]) -> None:
    lr, t_map = workload.arrays(np.dtype(np.float16))
    assert (lr.shape, t_map.shape) == ((2, 3, 8, 6), t_shape)
    assert lr.dtype == t_map.dtype == np.float16


@pytest.mark.parametrize(
    ("height", "batch", "t"), [(0, 1, 0.5), (8, 0, 0.5), (8, -1, 0.5), (8, 1, 1.5), (8, 1, math.nan)]
)
def test_workloads_out_of_range_are_refused(height: int, batch: int, t: float) -> None:
    with pytest.raises(UsageError):
        Workload(height, 8, batch, t)


def test_a_session_is_measured_by_the_clock_where_it_has_no_better() -> None:
    bench = Bench(NearestSession(dtype=np.float16))
    bench.begin(Workload(4, 4))
    (timing,) = bench.sample(0.0, 1)
    assert timing.total == timing.compute > 0
    assert timing.host_to_device is timing.device_to_host is timing.enqueue is None
    assert bench.session.info.precision == "fp16"
    assert bench.stream_rate(0.0) is None
    assert bench.memory().device is None
    with pytest.raises(UsageError, match="does not report times of layers"):
        bench.profile()


def test_the_peak_of_host_memory_never_falls() -> None:
    before = peak_host_bytes()
    block = np.ones(40_000_000, np.uint8)
    after = peak_host_bytes()
    del block
    assert before is not None
    assert after is not None
    assert after > 40_000_000
    for later, earlier in ((after, before), (peak_host_bytes() or 0, after)):
        assert later > 0.99 * earlier  # the kernel counts roughly


def fails_to_open() -> Session:
    raise UnavailableError("no such thing here")


def test_turns_are_taken_in_processes_of_their_own() -> None:
    with BenchProcess(NearestSession) as one, BenchProcess(NearestSession) as other:
        for process in (one, other):
            process.call(Bench.begin, Workload(4, 4))
        taken = interleave([one, other], 3, 0.0)
        with pytest.raises(FxsrError, match="does not report"):
            one.call(Bench.profile)
        one.call(Bench.sample, 0.0, 1)  # it lives on
    assert [[len(turn) for turn in side] for side in taken] == [[1] * 3] * 2


def test_a_side_that_cannot_be_opened_says_why() -> None:
    with pytest.raises(UnavailableError, match="no such thing here"):
        BenchProcess(fails_to_open)


def test_a_process_that_died_is_an_error() -> None:
    with BenchProcess(NearestSession) as process:
        process._process.kill()
        process._process.join()
        with pytest.raises(FxsrError, match=r"died \(exit status -9\)"):
            process.call(Bench.memory)


def test_repeated_models_are_told_apart() -> None:
    texts = [DEFAULT_MODEL, f"torch:{DEFAULT_MODEL}", DEFAULT_MODEL]
    assert [each.label for each in parse_subjects(texts)] == [*texts[:2], f"{DEFAULT_MODEL} (2)"]


def test_forms_are_read_from_prefixes_and_endings(tmp_path: Path) -> None:
    for name in ("a.onnx", "a.pth", "a.rtx.plan"):
        (tmp_path / name).touch()
    path = str(tmp_path / "a")
    texts = (
        f"{path}.onnx",
        f"{path}.pth",
        f"{path}.rtx.plan",
        f"torch-compile:{path}.pth",
        f"onnx:{path}.pth",
        DEFAULT_MODEL,
    )
    assert [parse_subject(text).form for text in texts] == ["onnx", "torch", "plan", "torch-compile", "onnx", "onnx"]
    assert parse_subject(f"torch:{DEFAULT_MODEL}").file.path.suffix == ".safetensors"
    for wrong in (f"torch:{path}.onnx", f"plan:{path}.onnx", f"jax:{path}.pth", str(tmp_path), f"{path}.none"):
        with pytest.raises(UsageError):
            parse_subject(wrong)


def test_a_report_survives_json_and_others_are_refused() -> None:
    stats = Stats(0.2, 0.3, 0.4, 0.1, 0.05)
    one = Measurement(
        model="m",
        form="onnx",
        backend="onnxruntime",
        device="cpu",
        precision="fp32",
        scale=4,
        baked_t=None,
        workload=Workload(8, 8, t=None),
        warm_up=WarmUp(3, 0.5, True),
        runs=9,
        total=stats,
        compute=stats,
        host_to_device=None,
        device_to_host=None,
        enqueue=stats,
        rate=Rate(5.0, 1.0),
        compute_rate=Rate(5.0, 1.0),
        memory=PeakMemory(10**8, None),
        work=Arithmetic(100, 500.0, None, None),
        notes=("a note",),
    )
    ratio = SpeedComparison("n", "m", one.workload, Ratio(2.0, 1.9, 2.1, 15))
    report = BenchReport("here", (one,), (ratio,), (UnavailableModel("x", "absent"),))
    assert read_report(report.to_json()) == report
    with pytest.raises(FxsrError, match="schema 99"):
        read_report(replace(report, schema=99).to_json())
    with pytest.raises(FxsrError, match="not a report"):
        read_report(b'{"machine": 3}')
