"""Real engines by TensorRT-RTX, which needs no GPU to build them, and what is checked before one is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fxsr.errors import DeviceError, ModelFileError
from fxsr.export import EngineRequest, ExportRequest, export_model, write_onnx
from fxsr.export.engine.profiles import parse_tiles
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.checkpoint import save_checkpoint
from fxsr.models.manifest import read_manifest
from fxsr.runtime.backends.tensorrt.engine_file import check_runnable, load_flavour, read_engine
from fxsr.runtime.machine.gpu import Gpu, find_gpus
from fxsr.runtime.open import open_session
from tests.support import PATIENCE, ROOT, TINY, ended, fxsr_cli, fxsr_here, fxsr_process, golden_checkpoint

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the export of a tiny network: x.safetensors, engines/."""
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(folder / "x.safetensors", golden_checkpoint(TINY, 5))
    done = fxsr_cli("export", "--checkpoint", "x.safetensors", "--fp16", "--tile", "32", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "verified: 22 of 22" in done.stdout
    assert ("engine not run, so only its graph is verified: no GPU here" in done.stdout) == (not find_gpus())
    assert "MB of activations" in done.stdout
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def plan(folder: Path) -> Path:
    return folder / "engines" / "golden-x4-fp16.rtx.plan"


def again(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tile = () if "none" in arguments else ("--tile", "32")
    return fxsr_cli("export", "--checkpoint", "x.safetensors", "--fp16", *tile, *arguments, cwd=folder)


def test_the_manifest_says_what_the_engine_is(exported: Path) -> None:
    (engine,) = read_manifest(exported / "engines" / "golden-x4-fp16.json").engines
    assert engine.flavour == "tensorrt-rtx"
    assert engine.builder_version == trt.__version__
    assert engine.tensors == {"lr": "float16", "t_map": "float16", "sr": "float16"}
    assert [profile.name for profile in engine.profiles] == ["map", "uniform"]
    assert engine.profiles[1].inputs["t_map"].max == (1, 1, 1, 1)
    assert engine.weight_bytes
    activations = [profile.activation_bytes or 0 for profile in engine.profiles]
    assert 0 < activations[0] < 1.1 * activations[1]  # a map costs hardly more: no layer's styles are held for long
    told = json.loads(fxsr_cli("info", plan(exported), "--json").stdout)
    assert told["profile uniform"].startswith("lr 1x3x32x32, t_map 1x1x1x1; ")


@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "fp16"}, {"precision": "bf16"}, {"io": "uint8"}, {"packed": True}, {"baked_t": 0.5}],
    ids=str,
)
def test_the_parser_supports_every_form_of_graph(options: dict[str, Any], tmp_path: Path) -> None:
    write_onnx(golden_checkpoint(TINY, 5), GraphOptions(**options), tmp_path / "x.onnx")
    log = trt.Logger(trt.ILogger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)  # all of them must outlive the parser
    parser = trt.OnnxParser(network, log)
    assert parser.supports_model_v2((tmp_path / "x.onnx").read_bytes())
    assert parser.num_subgraphs == 1
    assert parser.is_subgraph_supported(0)


def test_polygraphy_reads_the_graph(exported: Path) -> None:
    onnx = plan(exported).with_name("golden-x4-fp16.onnx")
    command = [str(Path(sys.executable).with_name("polygraphy")), "inspect", "model", str(onnx)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "lr [dtype=float16, shape=('n', 3, 'h', 'w')]" in done.stdout


def test_what_is_up_to_date_is_not_built_again(copy: Path) -> None:
    before = plan(copy).stat().st_mtime_ns
    done = again(copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == 2
    assert plan(copy).stat().st_mtime_ns == before
    assert again(copy, "--force").returncode == 0
    assert plan(copy).stat().st_mtime_ns > before


def test_checkpoint_and_graph_are_hashed_once_each(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    digest = hashlib.file_digest

    def count(file: Any, algorithm: str) -> Any:
        hashed.append(Path(file.name).suffix)
        return digest(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", count)
    tiles = parse_tiles(24, None, "1")
    request = ExportRequest(copy / "x.safetensors", copy / "new", engine=EngineRequest("tensorrt-rtx", tiles))
    for expected in ([".onnx", ".plan", ".safetensors"], [".onnx", ".plan", ".safetensors"]):  # written, and reused
        export_model(request)
        assert sorted(hashed) == expected
        hashed.clear()


def test_an_export_without_engine_leaves_the_engine_and_its_graph(copy: Path) -> None:
    done = again(copy, "--engine", "none")
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    rewrites = read_engine(plan(copy)).manifest.model.rewrites  # see GraphOptions.for_engine
    assert rewrites == ("phase-upsampling", "depth-to-space", "strips")


def test_an_engine_that_is_lost_with_its_graph_is_named(copy: Path) -> None:
    done = again(copy, "--engine", "none", "--without", "strips")
    assert done.returncode == 0, done.stderr
    assert (
        "note: golden-x4-fp16.rtx.plan: no longer usable, since the graph that it was built from was replaced"
        in done.stderr
    )


@pytest.mark.parametrize("change", [["--tile", "40"], ["--compute-capability", "8.6"]])
def test_other_options_build_another_engine(change: list[str], copy: Path) -> None:
    before = plan(copy).read_bytes()
    done = again(copy, *change)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == 1
    assert plan(copy).read_bytes() != before
    assert read_engine(plan(copy)).facts.options.compute_capabilities == (("8.6",) if "8.6" in change else ())


def test_a_range_of_sizes_and_batches(copy: Path) -> None:
    done = fxsr_cli(
        *("export", "--checkpoint", "x.safetensors", "--fp16", "--shapes", "16x24,24x24,64x48", "--batch", "1,2,4"),
        "--json",
        cwd=copy,
    )
    assert done.returncode == 0, done.stderr
    assert "up to ten times the memory" in done.stderr
    (note,) = json.loads(done.stdout)["notes"]
    assert note in done.stderr
    uniform = read_engine(plan(copy)).facts.profiles[1].inputs
    assert (uniform["lr"].min, uniform["lr"].max) == ((1, 3, 16, 24), (4, 3, 64, 48))
    assert uniform["t_map"].opt == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--engine", "tensorrt"], 3, "--engine tensorrt: "),
        (["--version-compatible"], 2, "belongs to one release"),
        (["--hardware-compatible"], 2, "--compute-capability restricts them"),
        (["--timing-cache", "x"], 2, "has no timings to keep"),
        (["--strip-weights"], 3, "needs a GPU"),
        (["--refit"], 3, "needs a GPU"),
        (["--compute-capability", "9.0"], 2, "builds for 7.5, 8.0"),
        (["--opt-level", "6"], 2, "must be 0 to 5"),
        (["--workspace", "0"], 2, "must be 1 to 1000000 MB"),
        (["--tile", "0"], 2, "--tile 0"),
        (["--shapes", "8x8,16x16"], 2, "write MIN,OPT,MAX as HEIGHTxWIDTH"),
        (["--shapes", "32x32,16x16,64x64"], 2, "must be 1 to 16384 and ascend"),
        (["--tile", "32", "--shapes", "8x8,16x16,32x32"], 2, "exclude each other"),
        (["--batch", "4,2,1"], 2, "ascending"),
        (["--batch", "x"], 2, "write one number"),
    ],
)
def test_what_cannot_be_built_is_refused_at_once(
    arguments: list[str], status: int, message: str, exported: Path, tmp_path: Path
) -> None:
    done = fxsr_here("export", "--checkpoint", exported / "x.safetensors", *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_builders_refusal_is_one_line_and_leaves_what_was_there(copy: Path) -> None:
    before = plan(copy).read_bytes()
    done = again(copy, "--tile", "512", "--workspace", "1")
    assert done.returncode == 1
    assert "the builder failed" in done.stderr
    assert plan(copy).read_bytes() == before
    assert read_engine(plan(copy)).facts.options.workspace_mb is None


def test_a_signal_stops_a_build_at_once_and_leaves_no_partial_file(copy: Path) -> None:
    arguments = ("export", "--checkpoint", "x.safetensors", "--fp16", "--tile", "200", "--force", "--verbose")
    with ended(fxsr_process(*arguments, cwd=copy)) as process:
        assert process.stderr is not None
        assert any("Optimizing graph" in line for line in process.stderr)  # reads until the builder is at work
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT
    assert "Engine generation completed" not in rest  # as the builder of every test here says at its end
    assert sorted(path.name for path in (copy / "engines").iterdir()) == [
        "golden-x4-fp16.json",
        "golden-x4-fp16.onnx",
        "golden-x4-fp16.rtx.plan",
    ]


def test_two_exports_into_one_folder_leave_what_the_manifest_says(copy: Path) -> None:
    arguments = ("export", "--checkpoint", "x.safetensors", "--fp16", "--force", "--no-verify", "--tile")
    with (
        ended(fxsr_process(*arguments, "24", cwd=copy)) as one,
        ended(fxsr_process(*arguments, "48", cwd=copy)) as other,
    ):
        for process in (one, other):
            _, stderr = process.communicate(timeout=300)
            assert process.returncode == 0, stderr
    assert read_engine(plan(copy)).facts.profiles[0].inputs["lr"].max[3] in (24, 48)


def test_a_full_disk_is_one_line_and_leaves_what_was_there(copy: Path) -> None:
    before = plan(copy).read_bytes()
    command = shlex.join([sys.executable, str(ROOT / "cli.py"), "export", "--checkpoint", "x.safetensors", "--fp16"])
    limit = len(before) // 2048  # in blocks of 1024 bytes: half the engine
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f {limit} && exec {command}"], cwd=copy, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert plan(copy).read_bytes() == before
    assert read_engine(plan(copy)).facts.profiles[0].inputs["lr"].max[3] == 32


def test_a_folder_that_cannot_be_written_is_one_line(copy: Path) -> None:
    (copy / "engines").chmod(0o500)
    command = [sys.executable, str(ROOT / "cli.py"), "export", "--checkpoint", "x.safetensors", "--fp16", "--force"]
    if os.geteuid() == 0:  # root may write anywhere unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and there is no setpriv")
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert plan(copy).exists()


class TestLoading:
    """What is checked before an engine is deserialised."""

    def test_an_engine_without_manifest_is_refused(self, copy: Path) -> None:
        (copy / "engines" / "golden-x4-fp16.json").unlink()
        with pytest.raises(ModelFileError, match=r"golden-x4-fp16\.json is not next to it.*--trust"):
            open_session(plan(copy))

    @pytest.mark.skipif(bool(find_gpus()), reason="there is a GPU, which the engine may run on")
    def test_bench_takes_it_with_trust(self, copy: Path) -> None:
        (copy / "engines" / "golden-x4-fp16.json").unlink()
        for trust, message in (((), "is not next to it"), (("--trust",), "GPU")):
            done = fxsr_cli("bench", plan(copy), *trust)
            assert done.returncode != 0
            assert message in done.stderr

    def test_a_truncated_engine_is_refused(self, copy: Path) -> None:
        content = plan(copy).read_bytes()
        plan(copy).write_bytes(content[:-1])
        with pytest.raises(ModelFileError, match="damaged or replaced"):
            open_session(plan(copy))

    def test_an_exchanged_engine_is_refused(self, copy: Path) -> None:
        content = bytearray(plan(copy).read_bytes())
        content[len(content) // 2] ^= 1
        plan(copy).write_bytes(bytes(content))
        with pytest.raises(ModelFileError, match="damaged or replaced"):
            open_session(plan(copy))

    @pytest.mark.parametrize("content", ["", "{}", "[1", '{"schema": 99}'])
    def test_a_damaged_manifest_is_refused(self, content: str, copy: Path) -> None:
        (copy / "engines" / "golden-x4-fp16.json").write_text(content)
        with pytest.raises(ModelFileError, match=r"not a manifest of fxsr|written with schema"):
            open_session(plan(copy))

    def test_a_manifest_of_something_else_is_refused(self, copy: Path) -> None:
        other = plan(copy).with_name("other.rtx.plan")
        plan(copy).rename(other)
        (copy / "engines" / "golden-x4-fp16.json").rename(other.with_name("other.json"))
        with pytest.raises(ModelFileError, match="does not list it"):
            open_session(other)

    def test_without_a_gpu_there_is_no_running_it(self, exported: Path) -> None:
        with pytest.raises(DeviceError, match="needs an NVIDIA GPU"):
            check_runnable(read_engine(plan(exported)), load_flavour("tensorrt-rtx"), None)

    def test_too_old_a_gpu_is_named(self, exported: Path) -> None:
        turing = Gpu("NVIDIA T4", "7.5", "580.1", 16000)
        with pytest.raises(DeviceError, match=r"built for compute capability 8\.0, .*, but NVIDIA T4 has 7\.5"):
            check_runnable(read_engine(plan(exported)), load_flavour("tensorrt-rtx"), turing)

    @pytest.mark.parametrize("capability", ["8.7", "9.0", "10.0", "11.0"])
    def test_a_gpu_that_the_library_does_not_run_on_is_named(self, capability: str, exported: Path) -> None:
        gpu = Gpu("NVIDIA X", capability, "580.1", 16000)
        with pytest.raises(DeviceError, match=r"run the \.onnx file, or export it again with --engine tensorrt"):
            check_runnable(read_engine(plan(exported)), load_flavour("tensorrt-rtx"), gpu)

    def test_another_version_is_named(self, exported: Path) -> None:
        class Other:
            __version__ = "9.9.9.9"

        with pytest.raises(ModelFileError, match=r"built by tensorrt-rtx .*, but 9\.9\.9\.9 is installed"):
            check_runnable(read_engine(plan(exported)), Other, Gpu("any", "8.9", "580.1", 16000))
