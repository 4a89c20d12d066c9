"""Measures `fxsr serve` under load: throughput with one client and with many, and memory over thousands of requests.

The server runs in a separate process; clients are threads of this one, each with one connection on loopback.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fxsr.errors import FxsrError
from fxsr.images.image import Picture, read_image, write_image

_TYPE = "multipart/form-data; boundary=x"
_METRIC = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class LoadResult:
    """One measurement of a server under load."""

    side: int
    """Side of the images that are sent, in pixels."""
    clients: int
    batch: int | None
    """Largest batch in tiles. None: the server decides."""
    images_per_s: float
    median_s: float
    p90_s: float
    batch_tiles: float
    """Mean number of tiles in a batch."""


@dataclass(frozen=True)
class SoakResult:
    """The result of many requests, good and bad."""

    requests: int
    statuses: dict[int, int]
    """Number of responses by status. 0: the client disconnected before the response."""
    early_mb: float
    """Resident memory of the server after a fifth of the requests."""
    end_mb: float
    """Resident memory of the server at the end."""


def measure_load(
    photo: Path,
    model: str,
    sides: Sequence[int],
    clients: Sequence[int],
    seconds: float,
    on_step: Callable[[str], None],
    device: str = "auto",
) -> list[LoadResult]:
    """Measure each size and number of clients with batching, and more than one client also with batches of one tile.

    Args:
        photo: photo whose centre is sent.
        model: a model file, or the name of a bundled model.
        sides: sides of the images in pixels.
        clients: numbers of concurrent clients.
        seconds: duration of each measurement.
        on_step: called before each measurement.
        device: of the server; see `fxsr serve --device`.

    Raises:
        FxsrError: the server does not start, or refuses a request.
    """
    rows = []
    for batch in (1, None):
        with _server(model, "--device", device, *(("--batch", str(batch)) if batch else ())) as port:
            for side in sides:
                body = _form(_crop(photo, side))
                for count in (count for count in clients if batch is None or count > 1):
                    on_step(f"{side}x{side}, {count} clients, batch {batch or 'any'}")
                    rows.append(_measure(port, body, side, count, batch, seconds))
    return sorted(rows, key=lambda row: (row.side, row.clients, row.batch or 1 << 30))


def soak(photo: Path, model: str, requests: int, on_step: Callable[[str], None]) -> SoakResult:
    """Send many requests: small photos, damaged files, wrong fields, and some whose client disconnects.

    Raises:
        FxsrError: the server does not start.
    """
    statuses: Counter[int] = Counter()
    early = 0.0
    small = _crop(photo, 24)
    with _server(model) as port, ThreadPoolExecutor(8) as pool:
        for number, status in enumerate(pool.map(lambda seed: _odd_request(port, small, seed), range(requests))):
            statuses[status] += 1
            if number == requests // 5:
                early = _metrics(port)["process_resident_memory_bytes"] / 1e6
            if number % 500 == 0:
                on_step(f"{number} of {requests}")
        end = _metrics(port)["process_resident_memory_bytes"] / 1e6
    return SoakResult(requests, dict(sorted(statuses.items())), early, end)


def _measure(port: int, body: bytes, side: int, clients: int, batch: int | None, seconds: float) -> LoadResult:
    def client(until: float) -> list[float]:
        taken = []
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            while time.perf_counter() < until:
                begin = time.perf_counter()
                connection.request("POST", "/v1/upscale", body, {"Content-Type": _TYPE})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise FxsrError(f"the server answered {answer.status}")
                taken.append(time.perf_counter() - begin)
        return taken

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, [time.perf_counter() + 1] * clients))  # warm up
        before = _metrics(port)
        begin = time.perf_counter()
        taken = [each for one in pool.map(client, [begin + seconds] * clients) for each in one]
        elapsed = time.perf_counter() - begin
    after = _metrics(port)
    tiles, batches = (after[name] - before[name] for name in ("fxsr_batch_tiles_sum", "fxsr_batch_tiles_count"))
    p90 = statistics.quantiles(taken, n=10)[-1] if len(taken) > 1 else taken[0]
    return LoadResult(
        side, clients, batch, len(taken) / elapsed, statistics.median(taken), p90, tiles / max(1, batches)
    )


def _odd_request(port: int, photo: bytes, seed: int) -> int:
    """Send one request, good or bad depending on its seed. Returns the response's status."""
    chance = random.Random(seed)
    kind = seed % 5
    if kind == 1:  # damage some bytes
        place = chance.randrange(len(photo))
        photo = photo[:place] + chance.randbytes(4) + photo[place + 4 :]
    elif kind == 2:
        photo = photo[: chance.randrange(len(photo))]
    body = _form(photo, t=chance.choice(("0.3", "1", "nan", "x")) if kind == 3 else "0.5")
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/v1/upscale", body, {"Content-Type": _TYPE})
        if kind == 4:
            time.sleep(chance.random() * 0.01)
            return 0
        answer = connection.getresponse()
        answer.read()
        return answer.status


def _form(image: bytes, **fields: str) -> bytes:
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts.append(('name="image"; filename="photo.png"', image))
    blocks = [
        b"--x\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), value) for head, value in parts
    ]
    return b"".join(blocks) + b"--x--\r\n"


def _crop(photo: Path, side: int) -> bytes:
    """The centre of a photo as the bytes of a PNG file."""
    pixels = read_image(photo).pixels
    top, left = ((size - side) // 2 for size in pixels.shape[:2])
    if top < 0 or left < 0:
        raise FxsrError(f"{photo}: it is smaller than {side}x{side}; give a larger photo")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "crop.png"
        write_image(path, Picture(np.ascontiguousarray(pixels[top : top + side, left : left + side])))
        return path.read_bytes()


def _metrics(port: int) -> dict[str, float]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found: dict[str, float] = {}
    for name, value in _METRIC.findall(text):
        found[name] = found.get(name, 0) + float(value)
    return found


@contextmanager
def _server(model: str, *options: str) -> Iterator[int]:
    """Run a server inside the block. Yields its port."""
    command = [sys.executable, "-m", "fxsr.cli", "serve", "--port", "0", "--engine", model, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            line = process.stderr.readline().strip()
            if not line.startswith("http://"):
                raise FxsrError(f"fxsr serve: {line}")
            port = int(line.rpartition(":")[2])
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            _metrics(port)
            yield port
        finally:
            process.terminate()
            process.communicate(timeout=60)
