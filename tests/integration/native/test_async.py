"""Tickets are done in order, each with its own result; also those of images in a GPU's memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.native import PROGRAMS, STATUS, Native, NativeError, run_program
from tests.support import ROOT, noise, wait_until

ON_GPU = """
import sys
from ctypes import byref, c_int, c_uint64
import cli
import numpy as np
from tests.native import Image, Native
from tests.support import noise

native = Native(sys.argv[1])
image, stream = noise(3, np.uint8, (20, 24)), c_int(0)
with native.worker(sys.argv[2]) as worker:
    frame = np.full((82, 100, 3), 9, np.uint8)
    given, made = Image.of(image[::-1]), Image.of(frame[1:-1, 2:-2, ::-1][::-1])
    given.memory = made.memory = 1
    ticket = c_uint64()
    arguments = byref(given), None, byref(made), byref(stream), byref(ticket)
    worker.check(native.lib.fxsr_submit(worker.handle, *arguments))
    worker.wait(ticket.value)
    assert stream.value == 0  # all its copies were waited for
    np.testing.assert_array_equal(frame[1:-1, 2:-2, ::-1], worker.run(image[::-1])[::-1])
    frame[1:-1, 2:-2] = 9
    assert (frame == 9).all()
    made.device = 5
    status = native.lib.fxsr_run(worker.handle, byref(given), None, byref(made))
    print(status, native.lib.fxsr_error(worker.handle).decode())
"""


def test_tickets_are_done_in_order_and_equal_run(native: Native, model: Path) -> None:
    images = [noise(3, np.uint8, (20 + number, 24), number) for number in range(4)]
    with native.worker(model) as worker:
        results = [worker.output(image) for image in images]
        tickets = [worker.submit(image, out, 0.5) for image, out in zip(images, results, strict=True)]
        assert tickets == [1, 2, 3, 4]
        wait_until(lambda: worker.done(3))
        assert worker.done(1)
        assert worker.done(2)
        worker.wait(4)
        worker.wait(4)  # again
        for image, result in zip(images, results, strict=True):
            np.testing.assert_array_equal(result, worker.run(image, 0.5))


def test_a_ticket_that_was_not_given(native: Native, model: Path) -> None:
    with native.worker(model) as worker:
        for call in (worker.done, worker.wait):
            with pytest.raises(NativeError, match="there is no ticket 1; this worker has given 0") as error:
                call(1)
            assert error.value.status == STATUS["bad argument"]


def test_freeing_a_worker_finishes_its_tickets(native: Native, model: Path) -> None:
    image = noise(3, np.uint8, (20, 24))
    with native.worker(model) as worker:
        out = worker.output(image)
        worker.submit(image, out)
    with native.worker(model) as worker:
        np.testing.assert_array_equal(out, worker.run(image))


def test_run_waits_for_the_queue(native: Native, model: Path) -> None:
    image = noise(3, np.uint8, (20, 24))
    with native.worker(model) as worker:
        queued = worker.output(image)
        ticket = worker.submit(image, queued)
        np.testing.assert_array_equal(worker.run(image), queued)
        assert worker.done(ticket)


def test_images_in_a_gpu_s_memory_go_through_the_given_stream(built: Path, model: Path, tmp_path: Path) -> None:
    """With a driver whose GPU is host memory."""
    driver = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", PROGRAMS / "fakecuda.c", "-o", driver], check=True)
    library = built / "libfxsr.so"
    done = run_program(
        sys.executable, "-c", ON_GPU, library, model, LD_LIBRARY_PATH=str(tmp_path), PYTHONPATH=str(ROOT)
    )
    assert done.stdout == f"{STATUS['no device']} there is no GPU 5; this machine has 2\n"


def test_a_stream_for_host_memory_is_refused(native: Native, model: Path) -> None:
    image = noise(3, np.uint8, (20, 24))
    with native.worker(model) as worker, pytest.raises(NativeError, match="a CUDA stream was given"):
        worker.submit(image, worker.output(image), stream=1)
