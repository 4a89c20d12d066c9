"""`fxsr bench` on real models at tiny sizes; how fast they are is not asked here."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from fxsr.benchmarks.speed.report import read_report
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.models.checkpoint import save_checkpoint
from tests.schemas import check_schema
from tests.support import PATIENCE, TINY, ended, fxsr_cli, fxsr_here, fxsr_process, golden_checkpoint, wait_until

BRIEF = ("--seconds", "0", "--runs", "2", "--rounds", "2", "--warm-up", "0")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(path, golden_checkpoint(TINY, 1))
    return path


def test_one_model_gets_a_line_for_each_figure(tmp_path: Path) -> None:
    done = fxsr_cli("bench", DEFAULT_MODEL, "--size", "16x24", "--profile", "--json", tmp_path / "b.json", *BRIEF)
    assert done.returncode == 0, done.stderr
    for line in ("latency", "throughput", "host memory", "work", "warm-up", "slowest layers"):
        assert line in done.stdout
    written = (tmp_path / "b.json").read_bytes()
    check_schema("bench.schema.json", json.loads(written))
    (one,) = read_report(written).measurements
    assert (one.backend, one.device, one.precision, one.runs) == ("onnxruntime", "cpu", "fp32", 2)
    assert (one.workload.height, one.workload.width, one.workload.batch, one.workload.t) == (16, 24, 1, 0.8)
    assert one.total.min <= one.total.median <= one.total.p90 <= one.total.p99
    assert one.rate.mpix_per_s == pytest.approx(one.rate.images_per_s * 16 * 24 * 16 / 1e6)
    assert one.memory.host is not None
    assert one.memory.host > 1e7
    assert one.work is not None
    assert one.work.share is not None
    assert one.work.share > 0
    assert any("Conv" in layer.name for layer in one.layers)
    assert [*one.layers] == sorted(one.layers, key=lambda layer: -layer.seconds)


def test_forms_of_one_checkpoint_take_turns(checkpoint: Path, tmp_path: Path) -> None:
    sides = [f"torch:{checkpoint}", f"onnx:{checkpoint}", f"plan:{checkpoint}"]
    plot = tmp_path / "latency.png"
    done = fxsr_cli(
        "bench", "--compare", *sides, "--size", "8", "--size", "12", "--t-map", "--json", "-", "--plot", plot, *BRIEF
    )
    report = read_report(done.stdout.encode())
    tried = [(one.model, one.workload.height) for one in report.measurements if one.form != "plan"]
    assert tried == [(side, size) for size in (8, 12) for side in sides[:2]]
    assert all(one.workload.t is None for one in report.measurements)
    pairs = [pair for pair in report.comparisons if pair.model == sides[1]]
    assert [pair.against for pair in pairs] == [sides[0]] * 2
    assert all(0 < pair.ratio.low <= pair.ratio.median <= pair.ratio.high for pair in pairs)
    assert plot.read_bytes().startswith(b"\x89PNG")
    left_out = [side.model for side in report.unavailable]
    assert left_out in ([], sides[2:])  # an engine needs a GPU
    assert done.returncode == (1 if left_out else 0), done.stderr
    assert all(f"{side}: not measured" in done.stderr for side in left_out)


def test_several_models_make_a_table(checkpoint: Path) -> None:
    done = fxsr_cli("bench", f"onnx:{checkpoint}", checkpoint, "--size", "8", "--batch", "2", *BRIEF)
    assert done.returncode == 0, done.stderr
    assert "2x 8x8" in done.stdout
    assert f"B  {checkpoint} (torch on cpu" in done.stdout


def test_a_size_too_large_leaves_the_others(checkpoint: Path) -> None:
    done = fxsr_cli("bench", f"onnx:{checkpoint}", "--size", "900000", "--size", "8", *BRIEF)
    assert done.returncode == 1
    assert "1 of 8x8" in done.stdout
    assert f"onnx:{checkpoint}, 900000x900000: not measured: too little memory" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("nothing.onnx",), 2, "no such file, and not a bundled model"),
        (("{model}", "--batch", "0"), 2, "batch is 0"),
        (("{model}", "--size", "0x8"), 2, "both sides must be 1 or more"),
        (("{model}", "--size", "8by8"), 2, "write HEIGHTxWIDTH"),
        (("{model}", "--t", "2"), 2, "t is 2"),
        (("{model}", "--t", "0.5", "--t-map"), 2, "exclude each other"),
        (("{model}", "--runs", "0"), 2, "must be 1 to 1,000,000"),
        (("{model}", "--compare"), 2, "two models or more"),
        (("{model}", "--plot", "p.txt"), 2, "plots are written as"),
        (("{model}", "--device", "gpu"), 2, "must be auto, cpu, cuda"),
        (("torch:README.md",), 2, "no such file"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], status: int, text: str, tmp_path: Path) -> None:
    done = fxsr_here("bench", *(argument.format(model=DEFAULT_MODEL) for argument in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def has_child_with(parent: int, library: str) -> bool:
    """Whether a process that `parent` started has loaded a library: then it is opening its model, or timing it."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and library in (folder / "maps").read_text():
                return True
    return False


def test_ctrl_c_ends_it_without_a_word_too_many() -> None:
    with ended(fxsr_process("bench", DEFAULT_MODEL, "--size", "16", "--seconds", "600", "--json", "-")) as process:
        wait_until(lambda: has_child_with(process.pid, "onnxruntime"), process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout, stderr) == (128 + signal.SIGINT, "", "")
