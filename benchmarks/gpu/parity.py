"""Group 3 of the hardware report: engines are built, and every backend is compared with the CPU."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from fxsr.benchmarks.gpu.models import ModelSpec, Side, Size, reflected
from fxsr.benchmarks.gpu.steps import Journal
from fxsr.benchmarks.speed.subjects import open_subject
from fxsr.errors import UnavailableError
from fxsr.export.engine.profiles import Tiles
from fxsr.export.verify.cases import CaseShapes, bundled_photos, make_cases
from fxsr.export.verify.verify import Threshold, verify
from fxsr.metrics import psnr
from fxsr.models.manifest import Flavour, Precision
from fxsr.runtime.open import open_session
from fxsr.runtime.session import Session
from fxsr.runtime.upscale.upscaler import Upscaler

LEAST_PSNR = {"fp32": 45.0, "fp16": 50.0}
"""PSNR in dB against the CPU in float32, peak 1. GPUs compute float32 convolutions in TF32, whose 10 bits of mantissa
are those of fp16, on weights that are not rounded beforehand; fp16: the limit of `fxsr export`."""
TILE_PSNR = 45.0
"""The same for images of 8 bits in tiles, which round to 1/255."""
_SIZES = ((48, 64), (37, 29))
"""Heights and widths of the images that are compared."""
LEAST_SIDE = 16
"""Smallest side of the tiles that the engine for comparisons takes."""


def build_engine(journal: Journal, side: Side, blocks: int, flavour: Flavour, size: Size, range_of_sizes: bool) -> None:
    """Build an engine in half precision. `check_parity` compares it with the CPU.

    Args:
        journal: of the step.
        side, blocks: which model; see `ModelSpec`.
        flavour: which TensorRT.
        size: the largest tile, which the engine is tuned for.
        range_of_sizes: also take smaller tiles, down to 16x16, and batches up to 4. Else it takes this size alone.

    Raises:
        UnavailableError: the flavour can't build here.
    """
    height, width = size
    tiles = Tiles(((height, width),) * 3)
    if range_of_sizes:
        least = min(LEAST_SIDE, height)
        tiles = Tiles(((least, least), (height, width), (height, width)), (1, 1, 4))
    model = ModelSpec(side, blocks)
    result = model.build(journal.work, flavour, tiles)
    facts = next(
        engine for engine in result.manifest.engines if result.engine and engine.file.file == result.engine.name
    )
    journal.add(
        f"{model.label}, {height}x{width}",
        build_s=facts.seconds,
        MB=facts.file.bytes / 1e6,
        builder=facts.builder_version,
    )


def check_parity(
    journal: Journal, backend: str, device: str, precision: Precision, size: Size, photos: int | None
) -> None:
    """Compare a backend with ONNX Runtime's CPU provider in float32, on the bundled model and photos.

    Args:
        journal: of the step.
        backend: "torch", "onnxruntime", "tensorrt" or "tensorrt-rtx".
        device: where the backend runs.
        precision: "fp32" or "fp16". Engines are in fp16.
        size: largest tile of the engine that an earlier step built.
        photos: number of bundled photos to compare on. None: all.

    Raises:
        UnavailableError: the backend can't run here, or runs on another device.
    """
    model = ModelSpec("small")
    graph = model.graph(journal.work, "fp32")
    begin = time.perf_counter()
    with (
        _open(model, backend, device, precision, size, journal.work) as session,
        open_session(graph, "cpu") as reference,
    ):
        opened = time.perf_counter()
        dtype = session.info.dtype
        session.run(np.zeros((1, 3, 32, 32), dtype), np.zeros((1, 1, 1, 1), dtype))
        journal.add(backend, open_s=opened - begin, first_run_s=time.perf_counter() - opened)
        if session.info.device.kind != device.partition(":")[0]:
            raise UnavailableError(f"{backend} runs on {session.info.device}, not on {device}")
        limit = LEAST_PSNR[precision]
        shapes = CaseShapes(batches=(1, 2, 4), sizes=tuple((min(h, size[0]), min(w, size[1])) for h, w in _SIZES))
        chosen = dict(list(bundled_photos().items())[:photos])
        groups: dict[str, list[float]] = defaultdict(list)
        for check in verify(reference, session, Threshold(psnr=limit), make_cases(chosen, shapes=shapes)).checks:
            equal = check.passed and check.psnr_db is None
            groups[_group(check.case)].append(np.inf if equal else check.psnr_db or 0.0)
        for name, found in groups.items():
            _report(journal, f"{backend}, {name}", min(found), limit, len(found))
        image = reflected(150, 200)
        maps = np.linspace(0, 1, 200, dtype=np.float32)[None].repeat(150, 0)
        tile = min(64, *size)
        for name, style in (("tiles, one style", 0.8), ("tiles, map", maps)):
            ours, theirs = (Upscaler(each, tile=tile, overlap=tile // 4)(image, style) for each in (session, reference))
            _report(journal, f"{backend}, {name}", psnr(ours, theirs, peak=255), TILE_PSNR, 1)


def _open(model: ModelSpec, backend: str, device: str, precision: Precision, size: Size, work: Path) -> Session:
    if backend == "torch":
        return open_subject(model.checkpoint(work), "torch-fp16" if precision == "fp16" else "torch", device)
    if backend == "onnxruntime":
        return open_session(model.graph(work, precision), device)
    flavour: Flavour = "tensorrt" if backend == "tensorrt" else "tensorrt-rtx"
    return open_session(model.engine(work, flavour, size), device)


def _group(case: str) -> str:
    """The kind of a case of `make_cases`, by its name."""
    if case.startswith("batch"):
        return "batches"
    return "maps" if case.endswith(("ramp", "checkerboard")) else "one style"


def _report(journal: Journal, name: str, decibel: float, limit: float, cases: int) -> None:
    passed = decibel >= limit
    worst = "equal" if np.isinf(decibel) else float(decibel)
    journal.add_row(name, {"worst PSNR dB": worst, "at least dB": limit, "cases": cases, "passed": passed})
    if not passed:
        journal.fail(f"{name}: {decibel:.1f} dB, not {limit:g}")
