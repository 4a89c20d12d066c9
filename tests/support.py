"""Helpers of several tests: golden weights, a session without a model, images, and running the command line."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.cli.app import main
from fxsr.images.image import Picture, write_image
from fxsr.models.checkpoint import About, Checkpoint
from fxsr.models.config import NetworkConfig, state_shapes
from fxsr.runtime.session import CPU, Session, SessionInfo
from fxsr.training.recipe import Recipe
from fxsr.training.recipes import load_recipe

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
SAMPLE = ROOT / "samples" / "cat.png"

CASES = {"x4_nb2": NetworkConfig(nb=2), "x8_nb1": NetworkConfig(nb=1, scale=8)}
STYLES = {"sr_t000": 0.0, "sr_t035": 0.35, "sr_t100": 1.0}

PATIENCE = 200.0
"""Seconds to wait for what takes a moment: only a machine that is stuck needs them all."""

TINY = NetworkConfig(nf=8, gc=4, nb=1, nc=4)
TINY_RB = NetworkConfig(trunk="rb", nf=8, gc=0, nb=3, nc=4)


def golden_checkpoint(config: NetworkConfig, seed: int) -> Checkpoint:
    """Weights by the rule in tests/golden/README.md."""
    weights = {}
    for key, shape in state_shapes(config).items():
        rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
        gain = 1.0 if "CondNet" in key or "SFT" in key else 1.2
        std = 0.1 if len(shape) == 1 else gain / np.sqrt(np.prod(shape[1:]))
        weights[key] = np.asarray(rng.standard_normal(shape) * std, np.float32)
    return Checkpoint(config, weights, About("golden"))


def golden_vectors(case: str) -> dict[str, NDArray[Any]]:
    with np.load(GOLDEN / f"{case}.npz") as file:
        return dict(file)


def relative(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """Norm of the difference divided by the norm of `expected`."""
    return float(np.linalg.norm(np.asarray(actual, np.float64) - expected) / np.linalg.norm(expected))


def noise(channels: int, dtype: Any = np.uint8, size: tuple[int, int] = (50, 70), seed: int = 3) -> NDArray[Any]:
    """Random pixels over the whole range of a type; floats reach beyond 0..1, as those of light do."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.random((*size, channels)) * 3 - 0.5).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


class NearestSession(Session):
    """A session that needs no model: nearest-neighbour upscaling of `lr` plus `gain` times t."""

    def __init__(self, scale: int = 4, dtype: type = np.float32, gain: float = 0.0, **limits: Any) -> None:
        self._info = SessionInfo("nearest", scale, np.dtype(dtype), "test", CPU, **limits)
        self.gain = gain
        self.seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self.closed = False

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
        assert lr.dtype == t_map.dtype == self.info.dtype
        self.seen.append((lr.shape, t_map.shape))
        sr: NDArray[Any] = (lr + self.gain * t_map).repeat(self.info.scale, 2).repeat(self.info.scale, 3)
        return sr.astype(self.info.dtype)

    def close(self) -> None:
        self.closed = True


def fxsr_process(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start the command line of this checkout as a process in a new process group."""
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",  # as file names are
        cwd=cwd,
        env=environment,
        start_new_session=True,
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    """In a process that starts: signals end it, also where whoever started the tests ignores them, as nohup does."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kill a process, and all processes that it started, at the end of the block."""
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen[str] | None = None, seconds: float = PATIENCE
) -> None:
    """Wait until a condition holds that other threads bring about, or `process`, which must stay alive until then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process and process.communicate(timeout=30)
        assert time.monotonic() < deadline, f"the condition does not hold after {seconds} s"
        time.sleep(0.01)


def fxsr_cli(*arguments: str | Path, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command line of this checkout and wait for its end."""
    with ended(fxsr_process(*arguments, cwd=cwd)) as process:
        stdout, stderr = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def fxsr_here(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process: for what takes less time than a process needs to start. What libraries
    write past `sys.stdout` is not seen."""
    command = ["fxsr", *map(str, arguments)]
    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.TextIOWrapper(io.BytesIO(), write_through=True)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with (
            patch.dict(os.environ, {"NO_COLOR": "1", "COLUMNS": "200"}),
            patch.object(sys, "argv", command),
            warnings.catch_warnings(),
            chdir(cwd or Path.cwd()),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ending,
        ):
            main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    stdout, stderr = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(command, int(ending.value.code or 0), stdout, stderr)


def write_photos(folder: Path, count: int, size: tuple[int, int], seed: int = 0) -> list[NDArray[np.uint8]]:
    """PNG files photo0.png, ... of smooth shapes with some grain; returns their pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    photos = []
    for number in range(count):
        waves = rng.uniform(0.1, 0.6, (3, 2))
        smooth = np.stack([np.sin(a * x + b * y) for a, b in waves], 2) * 90 + 128
        photos.append((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))
        write_image(folder / f"photo{number}.png", Picture(photos[-1]))
    return photos


def tiny_recipe(hr: Path, *overrides: str) -> Recipe:
    """A recipe that trains the smallest network for a few steps; see tests/golden/tiny.toml."""
    return load_recipe(GOLDEN / "tiny.toml", [f"data.hr={hr}", *overrides])


class SilentMonitor:
    """A monitor of a training run that keeps the lines and shows nothing."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def prepare(self, what: str, done: int, count: int) -> None: ...

    def begin(self, stage: str, done: int, steps: int) -> None: ...

    def step(self, stage: str, step: int, losses: Mapping[str, float], rate: float, speed: Any) -> None: ...

    def advance(self, stage: str, step: int) -> None: ...

    def measure(self, stage: str, step: int, generator: Any, advance: Callable[[], None]) -> float | None:
        return None
