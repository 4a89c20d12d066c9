"""The VapourSynth plug-in as users get it: a wheel that VapourSynth loads by itself, against `Upscaler`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.runtime.upscale.upscaler import Upscaler, load
from tests.native import SOURCES, UNITY
from tests.support import ROOT, TINY, golden_checkpoint

SCRIPT = Path(__file__).with_name("vapoursynth_script.py")
PYTHONS = ("python3", "python3.15", "python3.14", "python3.13", "python3.12")
"""VapourSynth's wheel needs Python 3.12 or later."""

PYENV = Path("~/.pyenv/versions").expanduser()
"""Where pyenv keeps Pythons; its `python3.13` on the PATH only runs where that version is switched on."""


def is_new(python: str) -> bool:
    check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"
    return subprocess.run([python, "-c", check], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, outside: dict[str, str]) -> Path:
    """A Python with VapourSynth and the plug-in."""
    on_path = (path for name in PYTHONS if (path := shutil.which(name)))
    found = next(filter(is_new, (*on_path, *map(str, sorted(PYENV.glob("3.*/bin/python3"))))), None)
    if found is None or shutil.which("c++") is None:
        pytest.skip("there is no Python 3.12 or later for VapourSynth, or no c++; on Debian: apt-get install g++")
    folder = tmp_path_factory.mktemp("vapoursynth")
    shutil.copytree(SOURCES, folder / "native")
    subprocess.run([found, "-m", "venv", folder / "venv"], check=True, env=outside)
    python = folder / "venv" / "bin" / "python"
    install = ["-m", "pip", "install", "-q", "-c"]
    constraints, plugin = ROOT / "constraints.txt", folder / "native" / "vapoursynth"
    command: list[str | Path] = [python, *install, constraints, "numpy", plugin]
    environment = outside | {"CMAKE_ARGS": " ".join(UNITY)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def frames(dtype: Any, count: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(1)
    values = rng.random((count, 30, 40, 3), np.float32)
    return values if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)


def test_a_script_with_a_map_clip_gives_what_upscaler_gives(
    python: Path, tmp_path: Path, outside: dict[str, str]
) -> None:
    model = tmp_path / "tiny.onnx"
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(), model)
    given = {name: frames(np.dtype(name)) for name in ("uint8", "uint16", "float32")}
    maps = np.random.default_rng(2).integers(0, 256, (3, 30, 40), np.uint8)
    np.savez(tmp_path / "frames.npz", map=maps, allow_pickle=False, **given)
    (example,) = re.findall(r"^```vpy\n(.*?)^```", (ROOT / "docs/embedding.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "example.vpy").write_text(example)
    command = [python, SCRIPT, tmp_path / "frames.npz", model, tmp_path / "result.npz", tmp_path / "example.vpy"]
    done = subprocess.run(command, capture_output=True, text=True, env=outside)
    assert done.returncode == 0, done.stdout + done.stderr
    made = np.load(tmp_path / "result.npz")
    plain, tiled = load(model), Upscaler(load(model).session, 24, 8)
    for name, clip in given.items():
        for index, frame in enumerate(clip):
            np.testing.assert_array_equal(made[f"{name} t"][index], plain(frame, t=0.3))
            np.testing.assert_array_equal(made[f"{name} map"][index], tiled(frame, t=maps[index]))
    half = plain(given["float32"][0].astype(np.float16), t=0.3)
    np.testing.assert_array_equal(made["float16 t"][0], half)
    assert made["grey"].shape == (3, 120, 160, 1)
    assert (made["example"].shape, made["example"].dtype) == ((2, 128, 192, 3), np.float32)
    expected = [
        "Upscale: clip must have one size and be RGB24",
        "nothing.onnx",
        "Upscale: ",
        "give t or t_map, not both",
        "t_map must be Gray8",
        "device is 'gpu'; it must be cpu, cuda or cuda:N",
        "provider 'cpu' does not fit device 'cuda'",
    ]
    assert [part for part, text in zip(expected, made["messages"], strict=True) if part not in text] == []
    assert "not refused" not in made["messages"]


def test_the_plugin_is_installed_without_python_too_and_finds_the_library(
    python: Path, tmp_path: Path, outside: dict[str, str]
) -> None:
    """A process of its own loads it, since VapourSynth would find two plug-ins of this name."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed; on Debian: apt-get install cmake")
    ask = "import vapoursynth; print(vapoursynth.get_include(), end='')"
    include = subprocess.run([python, "-c", ask], capture_output=True, text=True, env=outside, check=True).stdout
    settings = ["-DFXSR_VAPOURSYNTH=ON", f"-DVAPOURSYNTH_INCLUDE={include}", "-DFXSR_BUILD_EXAMPLES=OFF", *UNITY]
    commands: tuple[list[str | Path], ...] = (
        ["cmake", "-S", SOURCES, "-B", tmp_path / "build", "-DCMAKE_INSTALL_LIBDIR=lib", *settings],
        ["cmake", "--build", tmp_path / "build", "--parallel", "2"],
        ["cmake", "--install", tmp_path / "build", "--prefix", tmp_path / "prefix"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(tmp_path / "build")
    plugin = tmp_path / "prefix" / "lib" / "vapoursynth" / "libfxsr_vapoursynth.so"
    load = "import ctypes, sys; print(bool(ctypes.CDLL(sys.argv[1]).VapourSynthPluginInit2))"
    done = subprocess.run([python, "-c", load, plugin], capture_output=True, text=True, env=outside)
    assert done.stdout == "True\n", done.stderr
