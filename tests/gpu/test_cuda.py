"""What needs an NVIDIA GPU. Skipped, with the reason, where there is none."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from fxsr.errors import UnavailableError
from fxsr.images.image import read_image
from fxsr.metrics import psnr
from fxsr.models.bundled import DEFAULT_MODEL
from fxsr.runtime.open import open_session
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.requirements import missing
from tests.support import SAMPLE


@pytest.mark.parametrize("style", ["uniform", "map"])
def test_onnxruntime_on_cuda_agrees_with_the_cpu(style: str) -> None:
    try:
        on_gpu = open_session(DEFAULT_MODEL, "cuda")
    except UnavailableError as error:
        missing("onnxruntime", str(error))
    image = read_image(SAMPLE).pixels[:150, :200]
    t = 0.8 if style == "uniform" else np.linspace(0, 1, 200)[None].repeat(150, 0)
    with on_gpu, open_session(DEFAULT_MODEL, "cpu") as on_cpu:
        assert str(on_gpu.info.device) == "cuda:0"
        a, b = (Upscaler(session, tile=96)(image, t) for session in (on_gpu, on_cpu))
    assert psnr(a, b, peak=255) > 45  # TF32 convolutions


def test_onnxruntime_takes_arrays_of_torch_and_times_its_copies(gpu_torch: Any) -> None:
    if os.environ.get("FXSR_CUDA") == "pycuda":
        missing("streams", "PyCUDA takes no streams of others")
    try:
        session = open_session(DEFAULT_MODEL, "cuda")
    except UnavailableError as error:
        missing("onnxruntime", str(error))
    rng = np.random.default_rng(0)
    lr, t_map = rng.random((1, 3, 40, 48), np.float32), rng.random((1, 1, 40, 48), np.float32)
    with session:
        expected = session.run(lr, t_map)
        a, b = gpu_torch.from_numpy(lr).cuda(), gpu_torch.from_numpy(t_map).cuda()
        out = gpu_torch.zeros((1, 3, 160, 192), device="cuda")
        session.run_device(a, b, out, stream=gpu_torch.cuda.current_stream())
        assert np.array_equal(out.cpu().numpy(), expected)
        timing = session.measure(lr, t_map)
    assert timing.host_to_device is not None
    assert 0 < timing.compute < timing.total
