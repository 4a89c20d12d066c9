"""A server whose GPU failed such that only another process can use it."""

from __future__ import annotations

import subprocess
import sys

import httpx

from tests.support import ROOT, SAMPLE, ended

PROGRAM = """
import fxsr.runtime.upscale.upscaler as upscaler
from fxsr.errors import DeviceLostError
from tests.support import NearestSession

class Lost(NearestSession):
    def run(self, lr, t_map):
        raise DeviceLostError("cuda:0: an illegal memory access; the GPU can't be used any more in this process")

upscaler.load = lambda *arguments, **options: upscaler.Upscaler(Lost(), 64, 8)
from fxsr.cli.app import main
main()
"""


def test_a_server_whose_device_is_lost_ends_so_that_it_can_be_started_again() -> None:
    command = [sys.executable, "-c", PROGRAM, "serve", "--port", "0"]
    with (
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process,
        ended(process),
    ):
        assert process.stderr
        address = process.stderr.readline().strip()
        assert address.startswith("http://"), address + process.stderr.read()
        with SAMPLE.open("rb") as image:
            answer = httpx.post(f"{address}/v1/upscale", files={"image": ("cat.png", image)}, timeout=200)
        assert answer.status_code >= 500
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 3
        assert errors.strip().splitlines()[-1].startswith("fxsr: cuda:0: an illegal memory access")
