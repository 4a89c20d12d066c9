"""Engines on an NVIDIA GPU: built, loaded, run in every way, and against ONNX Runtime's CPU."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.errors import DeviceError, OutOfMemoryError, UsageError
from fxsr.images.image import read_image
from fxsr.metrics import psnr
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.models.checkpoint import save_checkpoint
from fxsr.runtime.backends.tensorrt.engine_file import read_engine
from fxsr.runtime.device.session import DeviceSession
from fxsr.runtime.machine.gpu import find_gpus
from fxsr.runtime.open import open_session
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.requirements import import_or_skip, missing
from tests.support import SAMPLE, TINY, fxsr_cli, golden_checkpoint

PYCUDA = os.environ.get("FXSR_CUDA") == "pycuda"
"""It has no graphs, and takes no streams of others."""
HALF = 50.0
"""dB against float32: what `fxsr export` asks of half precision."""
RNG = np.random.default_rng(0)


def build(folder: Path, flavour: str, *options: str) -> Path:
    """An engine that was verified here. In a process of its own: Polygraphy knows one flavour in each.

    All builds share a cache of kernel timings, which is in the user's cache folder.
    """
    if not find_gpus():
        missing(flavour, "the driver reports no NVIDIA GPU")
    done = fxsr_cli("export", "--engine", flavour, "--out", folder, *options, timeout=1500)
    if done.returncode == 3:
        missing(flavour, done.stderr)
    assert done.returncode == 0, done.stderr
    (engine,) = folder.glob("*.plan")
    verification = read_engine(engine).facts.verification
    if verification is None:
        missing(flavour, f"it builds for this GPU, but does not run on it: {done.stderr}")
    assert verification.passed
    return engine


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine of the bundled model in float16, for tiles from 16x16 to 64x64 and batches up to 4."""
    folder = tmp_path_factory.mktemp(str(request.param))
    return build(folder, request.param, "--fp16", "--shapes", "16x16,64x64,64x64", "--batch", "1,4,4")


@pytest.fixture
def others_streams() -> None:
    """Skip where streams of other libraries are not taken."""
    if PYCUDA:
        missing("streams", "PyCUDA takes no streams of others")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose engines are built in seconds."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(path, golden_checkpoint(TINY, 4))
    return path


@pytest.fixture
def session(plan: Path) -> Iterator[DeviceSession]:
    with open_session(plan, "cuda") as opened:
        assert isinstance(opened, DeviceSession)
        yield opened


def batch(height: int = 64, width: int = 64, count: int = 1, t: int = 64) -> tuple[Any, Any]:
    size = (height, width) if t > 1 else (1, 1)
    return (RNG.random((count, 3, height, width)).astype(np.float16), RNG.random((count, 1, *size)).astype(np.float16))


def reference(lr: Any, t_map: Any) -> Any:
    with open_session(DEFAULT_MODEL, "cpu") as onnx:
        return onnx.run(lr.astype(np.float32), t_map.astype(np.float32))


@pytest.mark.parametrize("t", [1, 64])
@pytest.mark.parametrize(("height", "width", "count"), [(64, 64, 1), (16, 16, 1), (37, 51, 2), (64, 64, 4)])
def test_an_engine_agrees_with_the_graph(height: int, width: int, count: int, t: int, session: DeviceSession) -> None:
    lr, t_map = batch(height, width, count, t)
    assert psnr(session.run(lr, t_map).astype(np.float32), reference(lr, t_map), peak=1) > HALF


def test_batches_in_flight_and_graphs_give_what_one_alone_gives(session: DeviceSession) -> None:
    batches = [batch(t=1 + 63 * (index % 2)) for index in range(20)]
    alone = [session.run(*each) for each in batches[:4]]
    together = [np.array(sr) for sr in session.stream(batches)]
    again = [np.array(sr) for sr in session.stream(batches)]
    assert PYCUDA or all(slot.graph is not None for lane in session._lanes.values() for slot in lane.slots)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=False))
    assert all(np.array_equal(a, b) for a, b in zip(together, again, strict=True))


@pytest.mark.usefixtures("others_streams")
def test_arrays_of_torch_go_in_and_out_without_a_copy(session: DeviceSession, gpu_torch: Any) -> None:
    lr, t_map = batch()
    expected = session.run(lr, t_map)
    stream = gpu_torch.cuda.Stream()
    with gpu_torch.cuda.stream(stream):
        a, b = gpu_torch.from_numpy(lr).cuda(), gpu_torch.from_numpy(t_map).cuda()
        out = gpu_torch.zeros((1, 3, 256, 256), dtype=gpu_torch.float16, device="cuda")
        session.run_device(a, b, out, stream=stream)
    stream.synchronize()
    assert np.array_equal(out.cpu().numpy(), expected)
    with pytest.raises(UsageError, match="not contiguous"):
        session.run_device(a.flip(3)[..., ::2], b, out)
    with pytest.raises(DeviceError, match="on the CPU"):
        session.run_device(gpu_torch.from_numpy(lr), b, out)


@pytest.mark.usefixtures("others_streams")
def test_arrays_wait_for_the_stream_that_still_writes_them(session: DeviceSession, gpu_torch: Any) -> None:
    lr, t_map = batch()
    expected = session.run(lr, t_map)
    a, b = gpu_torch.zeros(lr.shape, dtype=gpu_torch.float16, device="cuda"), gpu_torch.from_numpy(t_map).cuda()
    out = gpu_torch.zeros((1, 3, 256, 256), dtype=gpu_torch.float16, device="cuda")
    source = gpu_torch.from_numpy(lr).cuda()
    gpu_torch.cuda.synchronize()
    theirs, ours = gpu_torch.cuda.Stream(), gpu_torch.cuda.Stream()
    with gpu_torch.cuda.stream(theirs):
        gpu_torch.cuda._sleep(200_000_000)
        a.copy_(source)
        session.run_device(a, b, out, stream=ours)
    ours.synchronize()
    assert np.array_equal(out.cpu().numpy(), expected)


@pytest.mark.usefixtures("others_streams")
def test_arrays_of_cupy_go_in_and_out(session: DeviceSession) -> None:
    cupy = import_or_skip("cupy", "cupy")
    lr, t_map = batch()
    expected = session.run(lr, t_map)
    out = cupy.zeros((1, 3, 256, 256), cupy.float16)
    session.run_device(cupy.asarray(lr), cupy.asarray(t_map), out, stream=cupy.cuda.get_current_stream())
    assert np.array_equal(out.get(), expected)


def test_a_batch_that_does_not_fit_is_halved_and_said(session: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    too_much = 4 * 3 * 256 * 256 * 2  # what a batch of four makes
    alloc = session._memory.alloc

    def short(nbytes: int) -> Any:
        if nbytes == too_much:
            raise OutOfMemoryError("as if the GPU were full")
        return alloc(nbytes)

    monkeypatch.setattr(session._memory, "alloc", short)
    image = read_image(SAMPLE).pixels[:150, :200]
    notes: list[str] = []
    found = Upscaler(session, tile=64, overlap=16)(image, 0.6, note=notes.append)
    assert len(notes) == 1
    monkeypatch.undo()
    whole = Upscaler(session, tile=64, overlap=16)(image, 0.6)  # kernels of other batches may round differently
    assert psnr(found, whole, peak=255) > 50


def test_images_in_tiles_agree_with_the_graph(session: DeviceSession) -> None:
    image = read_image(SAMPLE).pixels[:150, :200]
    t = np.linspace(0, 1, 200)[None].repeat(150, 0)
    t[:70, :70] = 0.3  # some tiles have one style, others a map
    found = Upscaler(session, tile=64, overlap=16)(image, t)
    with open_session(DEFAULT_MODEL, "cpu") as onnx:
        expected = Upscaler(onnx, tile=64, overlap=16)(image, t)
    assert psnr(found, expected, peak=255) > 45


def test_too_large_a_tile_is_named_with_the_cure(session: DeviceSession) -> None:
    with pytest.raises(UsageError, match="tile 80 exceeds 64: export again with --tile 80, or run with --tile 64"):
        session.run(*batch(80, 64))


def test_a_full_gpu_is_named_and_the_session_goes_on(session: DeviceSession, gpu_torch: Any) -> None:
    session.run(*batch(16, 16))
    hoard = []
    size = 1 << 32
    while size >= 1 << 20:
        try:
            hoard.append(gpu_torch.empty(size, dtype=gpu_torch.uint8, device="cuda"))
        except gpu_torch.cuda.OutOfMemoryError:
            size //= 2
    with pytest.raises(OutOfMemoryError):
        session.run(*batch(64, 64, 4))
    hoard.clear()
    gpu_torch.cuda.empty_cache()
    lr, t_map = batch(64, 64, 4)
    assert psnr(session.run(lr, t_map).astype(np.float32), reference(lr, t_map), peak=1) > HALF


@pytest.mark.parametrize("form", [("--io", "uint8"), ("--bake-t", "0.5"), ("--batch", "2"), ("--strip-weights",)])
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_other_forms_are_built_verified_and_run(
    flavour: str, form: tuple[str, ...], tiny: Path, tmp_path: Path
) -> None:
    engine = build(tmp_path, flavour, "--checkpoint", str(tiny), "--fp16", "--tile", "64", *form)
    done = fxsr_cli("run", SAMPLE, "--engine", engine, "-o", tmp_path / "out.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)  # nothing else is written there
    assert read_image(tmp_path / "out.png").pixels.shape == (1200, 1804, 3)


def test_an_engine_is_benchmarked(plan: Path, tmp_path: Path) -> None:
    done = fxsr_cli("bench", plan, "--size", "64x64", "--json", tmp_path / "bench.json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "bench.json").read_text())["measurements"]
    assert 0 < found["compute"]["median"] < found["total"]["median"]
    assert found["host_to_device"]["median"] > 0
    assert found["device_to_host"]["median"] > 0
    assert found["memory"]["device"] > 0


def test_layers_are_profiled_and_the_session_is_as_fast_afterwards(session: DeviceSession) -> None:
    each = batch()
    session.run(*each)
    layers = [session.profile_layers(*each) for _ in range(2)]
    assert [len(found) for found in layers] == [len(layers[0])] * 2
    assert all(seconds >= 0 for _, seconds in layers[0])
    for _ in range(6):  # each of three slots twice
        session.run(*each)
    assert PYCUDA or all(slot.graph is not None for lane in session._lanes.values() for slot in lane.slots)
