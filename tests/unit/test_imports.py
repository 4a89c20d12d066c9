from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fxsr
from fxsr.images.image import Picture, write_image
from tests.support import ROOT

HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "pyvips", "PIL", "safetensors", "fsspec", "upath", "ray")


def test_every_public_name_is_there() -> None:
    for name in fxsr.__all__:
        assert getattr(fxsr, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        fxsr.upscale  # noqa: B018


@pytest.mark.parametrize(
    "code", ["import fxsr", "import fxsr.cli.app", "import fxsr.runtime.jobs.planning, fxsr.cli.print"]
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert not set(HEAVY) & modules_after(code)


def test_a_run_without_urls_imports_nothing_for_urls(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Picture(np.zeros((8, 8, 3), np.uint8)))
    code = f"""
from fxsr.cli.app import main
sys.argv = ["fxsr", "run", {str(tmp_path / "a.png")!r}, "--quiet"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    loaded = modules_after(code)
    assert (tmp_path / "a_x4.png").exists()
    assert "onnxruntime" in loaded
    assert not {"fsspec", "upath", "ray"} & loaded


def modules_after(code: str) -> set[str]:
    """Modules that a fresh process has loaded after some code."""
    script = f"import sys; import cli\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())
