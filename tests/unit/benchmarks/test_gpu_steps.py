"""What the steps of the hardware report do, as far as it can be tried without a GPU."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.benchmarks.gpu.busy import watch_gpu
from fxsr.benchmarks.gpu.models import REWRITES, ModelSpec, photo, reflected
from fxsr.benchmarks.gpu.probes import copy_rates
from fxsr.benchmarks.gpu.steps import Journal, read_journal
from fxsr.benchmarks.gpu.testing import read_junit
from fxsr.benchmarks.gpu.worker import main
from fxsr.errors import FxsrError, UnavailableError
from fxsr.images.image import read_image
from fxsr.models.checkpoint import load_checkpoint
from tests.hostdevice import HostMemory

JUNIT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.gpu.a" name="one"/>
<testcase classname="tests.gpu.a" name="two"><failure message="AssertionError: 3 != 4&#10;more">text
</failure></testcase>
<testcase classname="tests.gpu.a" name="three"><error message="failed on setup">text</error></testcase>
<testcase classname="tests.gpu.a" name="four"><skipped message="cupy: not here">file:1: cupy</skipped></testcase>
<testcase classname="tests.gpu.a" name="five"><skipped message="cupy: not here">file:2: cupy</skipped></testcase>
<testcase classname="" name="tests.gpu.b"><skipped message="collection skipped">('b.py', 9, 'Skipped: no GPU')</skipped>
</testcase></testsuite></testsuites>"""


def test_results_of_tests_are_counted_with_reasons(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    suite = read_junit(tmp_path / "junit.xml")
    assert suite.passed == 1
    assert suite.failed == {"tests.gpu.a::two": "AssertionError: 3 != 4", "tests.gpu.a::three": "failed on setup"}
    assert suite.skipped == {"cupy: not here": 2, "no GPU": 1}


def test_damaged_results_of_tests_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text("<testsuites>")
    with pytest.raises(FxsrError, match="not results of pytest"):
        read_junit(tmp_path / "junit.xml")


def test_copies_are_timed_for_every_kind_of_memory() -> None:
    memory = HostMemory()
    size = 1 << 16
    with memory.current():
        hosts = {"pinned": memory.alloc_pinned(size), "pageable": memory.alloc_pinned(size)}
        rates = copy_rates(memory, hosts, size)
        for host in hosts.values():
            memory.free(host)
    assert memory.used == 0
    assert len(rates) == 6
    assert min(rates.values()) > 0


def test_the_busy_share_is_the_mean_of_samples() -> None:
    samples = itertools.cycle([20.0, 40.0])
    with watch_gpu(0, lambda: next(samples), 0.001) as share:
        while len(share.percents) < 40:
            time.sleep(0.001)
    assert share.mean == pytest.approx(30, abs=1)


def test_without_a_driver_the_busy_share_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    with pytest.raises(UnavailableError, match="nvidia-ml-py"), watch_gpu(0):
        pass


def test_photos_are_continued_by_their_reflections(tmp_path: Path) -> None:
    large = reflected(700, 1300)
    assert large.shape == (700, 1300, 3)
    assert np.abs(np.diff(large.astype(int), axis=1)).mean() < 20  # no seams: neighbours are alike
    assert read_image(photo(tmp_path, 64)).pixels.shape == (64, 64, 3)


def test_graphs_are_made_once(tmp_path: Path) -> None:
    model = ModelSpec("full", 1)
    first = model.graph(tmp_path, "fp16", "none")
    written = first.stat().st_mtime_ns
    assert model.graph(tmp_path, "fp16", "none").stat().st_mtime_ns == written
    assert load_checkpoint(model.checkpoint(tmp_path)).config.nb == 1


@pytest.mark.parametrize("name", [name for name in REWRITES if name != "all"])
def test_every_combination_of_rewrites_is_another_graph(name: str, tmp_path: Path) -> None:
    model = ModelSpec("full", 1)
    assert model.graph(tmp_path, "fp32", name).read_bytes() != model.graph(tmp_path, "fp32").read_bytes()


def test_without_an_engine_its_step_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no tensorrt engine of the small model for 256x256 was built"):
        ModelSpec("small").engine(tmp_path, "tensorrt", (256, 256))


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UnavailableError("no such\nGPU"), 3, "no such GPU"),
        (FxsrError("3 dB"), 1, "3 dB"),
        (ValueError("bad\nvalue"), 1, "ValueError: bad"),
        (None, 0, ""),
    ],
)
def test_a_step_ends_with_a_status_and_a_reason(
    error: Exception | None, status: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(journal: Journal, **arguments: Any) -> None:
        journal.add("given", **arguments)
        if error:
            raise error

    monkeypatch.setattr("fxsr.benchmarks.gpu.probes.measure_gemm", step)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    journal = tmp_path / "journal"
    assert main("probes.measure_gemm", str(journal), str(tmp_path), '{"device": "cpu"}') == status
    findings, found = read_journal(journal)
    assert findings[0].values == {"device": "cpu"}
    assert found == reason


def test_faults_of_a_step_fail_it_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(journal: Journal) -> None:
        journal.fail("maps: 30 dB")
        journal.fail("tiles: 31 dB")

    monkeypatch.setattr("fxsr.benchmarks.gpu.probes.measure_gemm", step)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    assert main("probes.measure_gemm", str(tmp_path / "journal"), str(tmp_path), "{}") == 1
    assert read_journal(tmp_path / "journal")[1] == "maps: 30 dB; tiles: 31 dB"
