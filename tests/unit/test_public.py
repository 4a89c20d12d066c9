from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fxsr
from fxsr.errors import DeviceError, ModelFileError, UsageError
from fxsr.metrics import psnr
from fxsr.runtime.open import open_session
from fxsr.runtime.session import Device
from fxsr.weights import model_path
from tests.support import ROOT, SAMPLE

HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "pyvips", "PIL", "safetensors")


def test_every_public_name_is_there() -> None:
    for name in fxsr.__all__:
        assert getattr(fxsr, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        fxsr.upscale  # noqa: B018


@pytest.mark.parametrize("code", ["import fxsr", "import fxsr.cli", "import fxsr.runtime.jobs, fxsr.report"])
def test_importing_loads_nothing_heavy(code: str) -> None:
    script = f"import sys; import cli; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize(
    ("a", "b", "peak", "expected"),
    [(0.0, 0.1, 1.0, 20.0), (10, 20, 255, 28.1308), (3, 3, 1.0, float("inf"))],
)
def test_psnr(a: float, b: float, peak: float, expected: float) -> None:
    assert psnr(np.full(4, a), np.full(4, b), peak) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "device"), [("auto", Device("auto")), ("cpu", Device("cpu")), ("cuda:2", Device("cuda", 2))]
)
def test_devices_parse(text: str, device: Device) -> None:
    assert Device.parse(text) == device


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "cuda:-1", "", "CPU"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be auto, cpu, cuda or cuda:N"):
        Device.parse(text)


def test_an_absent_gpu_is_a_device_error() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(DeviceError, match="--device cpu"):
        open_session("fxsr-pd-x4-small", "cuda")


def test_models_that_cannot_be_run_say_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no-such-model: no such file, and not a bundled model \(fxsr-pd-x4-small\)"):
        open_session("no-such-model")
    with pytest.raises(UsageError, match=r"--provider is for \.onnx files"):
        open_session(model_path("fxsr-pd-x4-small", ".safetensors"), provider="cpu")
    with pytest.raises(UsageError, match="not a kind of model that can be run"):
        open_session(SAMPLE)
    with pytest.raises(UsageError, match="a folder, not a model"):
        open_session(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"garbage")
    with pytest.raises(ModelFileError, match=r"broken\.onnx: ONNX Runtime can't load it"):
        open_session(tmp_path / "broken.onnx")
