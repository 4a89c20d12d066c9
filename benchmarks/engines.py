"""How much faster is the exported graph than the torch network that it came from, on this machine's CPU?

Each side lives in a process of its own, so that peak memory is its own; the two take turns, round by round, so that
whatever else the machine does hits both.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fxsr.checkpoint import About, Checkpoint, save_checkpoint
from fxsr.config import NetworkConfig, state_shapes

STYLES = ("map", "uniform")
SIDES = ("torch", "onnxruntime")


@dataclass(frozen=True)
class Comparison:
    """Medians of one network and style over the rounds."""

    nb: int
    style: str
    """"map": a t per pixel on both sides. "uniform": one t, which torch gets as a full map (the authors' code takes
    nothing else) and the graph as 1x1."""
    torch_s: float
    onnx_s: float
    ratio: float
    """Median over rounds of torch's time over the graph's."""
    torch_mb: float
    """Peak resident memory of the process that ran torch, over both styles."""
    onnx_mb: float


def compare(nb: int, size: int, rounds: int, tell: Callable[[str], None]) -> list[Comparison]:
    """Time both sides on a network of `nb` blocks and otherwise published size, on one (size, size) LR image."""
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "network.safetensors"
        save_checkpoint(checkpoint, random_checkpoint(NetworkConfig(nb=nb)))
        from fxsr.export import ExportRequest, export_model

        onnx = export_model(ExportRequest(checkpoint, Path(folder), check=False)).onnx
        with _Worker(checkpoint) as torch, _Worker(onnx) as graph:
            seconds: dict[tuple[str, str], list[float]] = {(s, side): [] for s in STYLES for side in SIDES}
            for round_ in range(-1, rounds):  # round -1 warms up
                for style in STYLES:
                    tell(f"nb {nb}, {style}, round {max(round_, 0)} of {rounds}")
                    taken = torch.run(size, size), graph.run(size, size if style == "map" else 1)
                    if round_ >= 0:
                        for side, value in zip(SIDES, taken, strict=True):
                            seconds[style, side].append(value)
            memory = torch.peak_mb(), graph.peak_mb()
    return [_summary(nb, style, [seconds[style, side] for side in SIDES], memory) for style in STYLES]


def random_checkpoint(config: NetworkConfig, seed: int = 0) -> Checkpoint:
    """Random weights of a sensible size: speed does not depend on what a network has learnt."""
    rng = np.random.default_rng(seed)
    weights = {
        key: (rng.standard_normal(shape) * (0.1 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5)).astype(np.float32)
        for key, shape in state_shapes(config).items()
    }
    return Checkpoint(config, weights, About(name="random", recipe="random weights, for timing"))


def _summary(nb: int, style: str, seconds: list[list[float]], memory: tuple[float, float]) -> Comparison:
    torch, onnx = seconds
    ratio = statistics.median(a / b for a, b in zip(torch, onnx, strict=True))
    return Comparison(nb, style, statistics.median(torch), statistics.median(onnx), ratio, *memory)


class _Worker:
    """A process that holds one session and runs it when told to."""

    def __init__(self, model: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(model, other), daemon=True)
        self._process.start()

    def run(self, size: int, t_size: int) -> float:
        """Seconds for one run on a (size, size) image with a (t_size, t_size) style map."""
        return float(self._ask((size, t_size)))

    def peak_mb(self) -> float:
        return float(self._ask(None))

    def _ask(self, question: Any) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.join()


def _serve(model: Path, pipe: Connection) -> None:
    from fxsr.runtime.session import available_cpus, open_session

    if model.suffix == ".safetensors":
        import torch

        torch.set_num_threads(available_cpus())
    rng = np.random.default_rng(0)
    with open_session(model, "cpu") as session:
        while True:
            question = pipe.recv()
            if question is None:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                pipe.send(peak / (2**20 if sys.platform == "darwin" else 2**10))
                continue
            size, t_size = question
            lr, t_map = rng.random((1, 3, size, size), np.float32), rng.random((1, 1, t_size, t_size), np.float32)
            begin = time.perf_counter()
            session.run(lr, t_map)
            pipe.send(time.perf_counter() - begin)
