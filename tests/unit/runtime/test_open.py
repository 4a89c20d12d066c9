from __future__ import annotations

from pathlib import Path

import pytest

from fxsr.errors import DeviceError, ModelFileError, UsageError
from fxsr.models.bundled import bundled_file
from fxsr.runtime.open import open_session
from fxsr.runtime.session import Device
from tests.support import SAMPLE


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
    bundled = r"not a bundled model \(fxsr-photo-x4-small, fxsr-pd-x4-small, fxsr-photo-x4\)"
    with pytest.raises(UsageError, match=f"no-such-model: no such file, and {bundled}"):
        open_session("no-such-model")
    with pytest.raises(UsageError, match=r"--provider is for \.onnx files"):
        open_session(bundled_file("fxsr-pd-x4-small", ".safetensors"), provider="cpu")
    with pytest.raises(UsageError, match="this kind of file can't be used here"):
        open_session(SAMPLE)
    with pytest.raises(UsageError, match="this is a folder"):
        open_session(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"garbage")
    with pytest.raises(ModelFileError, match=r"broken\.onnx: ONNX Runtime can't load it"):
        open_session(tmp_path / "broken.onnx")
