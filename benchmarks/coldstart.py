"""Measures how long `fxsr run` takes on one small photo, from the start of the process to the finished file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fxsr.benchmarks.speed.bench import Stats, summarise
from fxsr.errors import FxsrError
from fxsr.images.image import Picture, read_image, write_image

SIDE = 256


@dataclass(frozen=True)
class ColdStart:
    """Durations of one command's runs as a process."""

    command: str
    stats: Stats


def measure_cold_start(
    image: Path, model: str, runs: int, on_step: Callable[[str], None] = lambda step: None
) -> list[ColdStart]:
    """Time three commands in turns: Python alone, `fxsr --version`, and `fxsr run` on the centre of a photo.

    Files are in the system's cache, as after a first run. The centre has `SIDE` x `SIDE` pixels.

    Raises:
        FxsrError: the photo is too small or can't be read, or a command fails.
    """
    pixels = read_image(image).pixels
    if min(pixels.shape[:2]) < SIDE:
        raise FxsrError(f"{image}: {pixels.shape[1]}x{pixels.shape[0]}; both sides must be {SIDE} or more")
    top, left = ((length - SIDE) // 2 for length in pixels.shape[:2])
    with TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        write_image(photo, Picture(pixels[top : top + SIDE, left : left + SIDE]))
        fxsr = [sys.executable, "-m", "fxsr.cli"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "fxsr --version": [*fxsr, "--version"],
            f"fxsr run, {SIDE}x{SIDE}": [*fxsr, "run", str(photo), "-o", f"{folder}/out.png", "-e", model, "-q"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for round_ in range(-1, runs):  # round -1 fills the system's cache
            for name, command in commands.items():
                on_step(f"{name}, {max(round_, 0)} of {runs}")
                taken = _run(command)
                if round_ >= 0:
                    seconds[name].append(taken)
    return [ColdStart(name, summarise(taken)) for name, taken in seconds.items()]


def _run(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - begin
    if done.returncode:
        raise FxsrError(f"{' '.join(command)}: {' '.join(done.stderr.split())[-300:]}")
    return taken
