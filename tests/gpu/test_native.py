"""The C library runs an engine on an NVIDIA GPU, and agrees with Python's session. It needs TensorRT's headers in
TENSORRT_INCLUDE, and its library in FXSR_TENSORRT or where the system's loader finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxsr
from fxsr.metrics import psnr
from fxsr.models.checkpoint import save_checkpoint
from fxsr.runtime.backends.tensorrt.engine_file import read_engine
from fxsr.runtime.machine.gpu import find_gpus
from tests.native import SOURCES, Image, Native, Worker, build_native, onnxruntime_library, style_of
from tests.requirements import missing
from tests.support import TINY, fxsr_cli, golden_checkpoint, noise

SIZE = (75, 130)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine of a tiny model in float16, for tiles from 16x16 to 64x64 and batches up to 4."""
    if not find_gpus():
        missing("tensorrt", "the driver reports no NVIDIA GPU")
    if "TENSORRT_INCLUDE" not in os.environ:
        missing("tensorrt", "TENSORRT_INCLUDE does not name the folder of its headers")
    folder = tmp_path_factory.mktemp("native")
    save_checkpoint(folder / "tiny.safetensors", golden_checkpoint(TINY, 4))
    shapes = ("--fp16", "--shapes", "16x16,64x64,64x64", "--batch", "1,4,4")
    done = fxsr_cli(
        "export", "--engine", "tensorrt", "--checkpoint", folder / "tiny.safetensors", *shapes, "--out", folder
    )
    if done.returncode == 3:
        missing("tensorrt", done.stderr)
    assert done.returncode == 0, done.stderr
    (engine,) = folder.glob("*.plan")
    assert read_engine(engine).facts.verification is not None
    return engine


@pytest.fixture
def native(plan: Path, monkeypatch: pytest.MonkeyPatch) -> Native:
    monkeypatch.setenv("FXSR_ONNXRUNTIME", str(onnxruntime_library()))
    built = build_native(SOURCES, FXSR_BUILD_EXAMPLES="OFF", TENSORRT_INCLUDE=os.environ["TENSORRT_INCLUDE"])
    return Native(built / "libfxsr.so")


def expected(plan: Path, image: Any, t: Any) -> Any:
    with fxsr.load(plan, device="cuda", tile=64, overlap=16) as upscaler:
        return upscaler(image, t)


def test_engines_agree_with_python(native: Native, plan: Path) -> None:
    """In batches of one style and of maps. Kernels of other batches may round differently."""
    image = noise(3, np.uint8, SIZE)
    styles = np.random.default_rng(1).random(SIZE, np.float32)
    styles[:, :70] = 0.25
    with native.worker(plan, tile=64, overlap=16) as worker:
        for t in (0.5, styles):
            found = worker.run(image, t)
            assert psnr(found, expected(plan, image, t), peak=255) > 50
            np.testing.assert_array_equal(worker.run(image, t), found)


def test_images_of_torch_on_its_stream(native: Native, plan: Path, gpu_torch: Any) -> None:
    image = noise(3, np.uint8, SIZE)
    height, width = SIZE
    with native.worker(plan, tile=64, overlap=16) as worker:
        right = worker.run(image, 0.5)
        stream = gpu_torch.cuda.Stream()
        with gpu_torch.cuda.stream(stream):
            source = gpu_torch.from_numpy(image).cuda()
            out = gpu_torch.zeros((4 * height, 4 * width, 3), dtype=gpu_torch.uint8, device="cuda")
        ticket = submit_on_gpu(worker, image, right, source.data_ptr(), out.data_ptr(), stream.cuda_stream)
        worker.wait(ticket)
        np.testing.assert_array_equal(out.cpu().numpy(), right)


def submit_on_gpu(worker: Worker, image: Any, right: Any, source: int, out: int, stream: int) -> int:
    """`fxsr_submit` of packed images of these sizes that are in the GPU's memory."""
    given, made = Image.of(image), Image.of(right)
    given.memory = made.memory = 1
    given.data, made.data = source, out
    return worker.submit_images(given, made, style_of(0.5), stream)
