"""Group 5 of the hardware report: `fxsr serve` under load, and `fxsr run` on many photos and on a huge image."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fxsr.benchmarks.gpu.busy import BusyShare, watch_gpu
from fxsr.benchmarks.gpu.models import ModelSpec, Size, photo, reflected
from fxsr.benchmarks.gpu.steps import Journal
from fxsr.benchmarks.serving import measure_load
from fxsr.errors import FxsrError, UnavailableError
from fxsr.images.image import Picture, write_image
from fxsr.images.rows import Pixels, Rows
from fxsr.images.writing import write_rows
from fxsr.models.manifest import Flavour
from fxsr.runtime.session import Device

_BAND = 256


def load_server(journal: Journal, backend: str, device: str, side: int, clients: list[int], seconds: float) -> None:
    """Throughput of `fxsr serve` with the bundled model, with and without batches over requests.

    Args:
        journal: of the step.
        backend: "onnxruntime", or the flavour of an engine that an earlier step built for `side` x `side`.
        device: of the server.
        side: of the images that are sent, LR pixels.
        clients: numbers of concurrent clients.
        seconds: duration of each measurement.

    Raises:
        UnavailableError: no such engine was built, or the device is absent.
        FxsrError: the server does not start, or refuses a request.
    """
    model = _model(journal.work, backend, (side, side))
    on_step = partial(print, flush=True)
    for row in measure_load(photo(journal.work), model, [side], clients, seconds, on_step, device=device):
        journal.add_row(
            f"{row.clients} clients, " + ("batches over requests" if row.batch is None else "no batches"),
            {
                "images/s": row.images_per_s,
                "median ms": row.median_s * 1e3,
                "p90 ms": row.p90_s * 1e3,
                "tiles a batch": row.batch_tiles,
            },
        )


def run_folder(journal: Journal, backend: str, device: str, count: int, side: int, tile: int) -> None:
    """Time `fxsr run` on a folder of photos, and sample how busy the GPU is.

    Args:
        journal: of the step.
        backend: as for `load_server`, for tiles of `tile`.
        device: where to run.
        count, side: number and side of the photos.
        tile: size of tiles.
    """
    model = _model(journal.work, backend, (tile, tile))
    with TemporaryDirectory(dir=journal.work) as folder:
        source = Path(folder, "photos")
        source.mkdir()
        pixels = reflected(side + count, side)
        for number in range(count):
            write_image(source / f"{number}.png", Picture(np.ascontiguousarray(pixels[number : number + side])))
        _run(journal, f"{count} photos of {side}x{side}, {backend}", source, Path(folder, "out"), model, device, tile)


def run_huge(journal: Journal, backend: str, device: str, side: int, tile: int) -> None:
    """Time `fxsr run` on one TIFF of `side` x `side` pixels, and sample how busy the GPU is. Arguments: see
    `run_folder`."""
    model = _model(journal.work, backend, (tile, tile))
    with TemporaryDirectory(dir=journal.work) as folder:
        source = Path(folder, "huge.tif")
        write_rows(source, Rows(side, side, 3, np.dtype(np.uint8), _bands(side)))
        _run(journal, f"one image of {side}x{side}, {backend}", source, Path(folder, "out.tif"), model, device, tile)


def _bands(side: int) -> Iterator[Pixels]:
    pattern = reflected(_BAND, side)
    for top in range(0, side, _BAND):
        yield pattern[: side - top]


def _model(work: Path, backend: str, size: Size) -> str:
    model = ModelSpec("small")
    if backend == "onnxruntime":
        return str(model.graph(work, "fp16"))
    flavour: Flavour = "tensorrt" if backend == "tensorrt" else "tensorrt-rtx"
    return str(model.engine(work, flavour, size))


def _run(journal: Journal, name: str, source: Path, target: Path, model: str, device: str, tile: int) -> None:
    where = Device.parse(device)
    command = [sys.executable, "-m", "fxsr.cli", "run", str(source), "-o", str(target), "-e", model, "--json"]
    command += ["--device", device, "--tile", str(tile), "--quiet"]
    watching = nullcontext(BusyShare()) if where.is_cpu else watch_gpu(where.index)
    begin = time.perf_counter()
    with watching as busy:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode == UnavailableError.exit_status:
        raise UnavailableError(" ".join(done.stderr.split()))
    if done.returncode:
        raise FxsrError(f"fxsr run ended with exit status {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    files = [target] if target.is_file() else sorted(target.iterdir())
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    journal.add_row(
        name, {"seconds": seconds, "GPU busy %": busy.mean, "samples": len(busy.percents), "output MB": megabytes}
    )
