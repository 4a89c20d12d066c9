"""What needs an NVIDIA GPU. Skipped, with the reason, where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from fxsr.errors import DeviceError
from fxsr.image import read_image
from fxsr.metrics import psnr
from fxsr.runtime.session import open_session
from fxsr.runtime.upscaler import Upscaler
from fxsr.weights import DEFAULT_MODEL
from tests.support import SAMPLE


@pytest.mark.parametrize("style", ["uniform", "map"])
def test_onnxruntime_on_cuda_agrees_with_the_cpu(style: str) -> None:
    try:
        on_gpu = open_session(DEFAULT_MODEL, "cuda")
    except DeviceError as error:
        pytest.skip(str(error))
    image = read_image(SAMPLE).pixels[:150, :200]
    t = 0.8 if style == "uniform" else np.linspace(0, 1, 200)[None].repeat(150, 0)
    with on_gpu, open_session(DEFAULT_MODEL, "cpu") as on_cpu:
        assert on_gpu.info.device == "cuda:0"
        a, b = (Upscaler(session, tile=96)(image, t) for session in (on_gpu, on_cpu))
    assert psnr(a, b, peak=255) > 45  # TF32 convolutions
