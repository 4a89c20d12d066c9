"""Servers for tests: in a thread of this process, or as a process of its own."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from fxsr.images.image import Picture, write_image
from fxsr.runtime.serve.app import create_app
from fxsr.runtime.serve.guard import Guard
from fxsr.runtime.serve.server import listen, make_server
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.support import NearestSession, ended, fxsr_process, wait_until


@dataclass(frozen=True)
class Serving:
    """A server in a thread of this process."""

    app: Guard
    port: int
    client: httpx.Client

    def post(self, image: bytes | None = None, **fields: Any) -> httpx.Response:
        """`/v1/upscale`; fields that are bytes are files."""
        given = fields if image is None else {"image": image, **fields}
        files = {name: (name, value) for name, value in given.items() if isinstance(value, bytes)}
        data = {name: str(value) for name, value in given.items() if not isinstance(value, bytes)}
        return self.client.post("/v1/upscale", files=files, data=data)


@contextmanager
def serving(
    open_upscalers: Callable[[], Mapping[str, Upscaler]], settings: Settings | None = None
) -> Iterator[Serving]:
    with listen("127.0.0.1", 0) as listener:
        app = create_app(open_upscalers, settings)
        server = make_server(app, 10)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield Serving(app, port, client)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def nearest(session: NearestSession | None = None, tile: int = 64) -> Callable[[], Mapping[str, Upscaler]]:
    return lambda: {"m": Upscaler(session or NearestSession(), tile, 8)}


class Gate(NearestSession):
    """Lets nothing through until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.opened = threading.Event()

    def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
        self.entered.set()
        assert self.opened.wait(30)
        return super().run(lr, t_map)


def png(pixels: NDArray[Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        write_image(path, Picture(pixels))
        return path.read_bytes()


SMALL = png(np.random.default_rng(9).integers(0, 255, (12, 16, 3), np.uint8))


@contextmanager
def process(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`fxsr serve` as a process of its own, and its port."""
    with ended(fxsr_process("serve", "--port", "0", *arguments)) as running:
        assert running.stderr
        address = running.stderr.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address + running.stderr.read()
        port = int(address.rpartition(":")[2])
        wait_until(lambda: accepts(port), running)
        yield running, port
        if running.poll() is None:
            running.terminate()
        running.communicate(timeout=60)


def accepts(port: int) -> bool:
    """Whether a server listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def metric(running: Serving, name: str) -> float:
    lines = running.client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)
