from __future__ import annotations

import subprocess
import sys

import pytest

import fxsr
from tests.support import ROOT

HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "pyvips", "PIL", "safetensors")


def test_every_public_name_is_there() -> None:
    for name in fxsr.__all__:
        assert getattr(fxsr, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        fxsr.upscale  # noqa: B018


@pytest.mark.parametrize(
    "code", ["import fxsr", "import fxsr.cli.app", "import fxsr.runtime.jobs.jobs, fxsr.cli.print"]
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    script = f"import sys; import cli; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not set(HEAVY) & set(done.stdout.split())
