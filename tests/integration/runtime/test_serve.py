"""`fxsr serve` as clients meet it: real sockets, bad input, load, and the end. Tensors: `test_serve_tensors`."""

from __future__ import annotations

import http.client
import io
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.serving import SMALL, Gate, Serving, metric, nearest, png, process, serving
from tests.support import ROOT, SAMPLE, NearestSession, fxsr_cli, fxsr_here, wait_until


@pytest.fixture(scope="module")
def plain() -> Iterator[Serving]:
    with serving(nearest()) as running:
        yield running


def test_many_at_once_get_what_fxsr_run_writes_bit_by_bit(tmp_path: Path) -> None:
    photo = read_image(SAMPLE).pixels[60:130, 100:190]
    t_map = np.zeros(photo.shape[:2], np.uint8)
    t_map[:, 45:] = 255
    write_image(tmp_path / "map.png", Picture(t_map[..., None]))
    alpha = np.full((*photo.shape[:2], 1), 255, np.uint8)
    alpha[:20] = 90
    write_image(tmp_path / "in" / "alpha.png", Picture(np.concatenate([photo, alpha], 2)))
    write_image(tmp_path / "in" / "deep.tif", Picture(photo.astype(np.uint16) * 257))
    write_image(tmp_path / "in" / "photo.jpg", replace(read_image(SAMPLE), pixels=photo))
    write_image(tmp_path / "in" / "flat.webp", Picture(photo[:40, :40]))
    assert fxsr_cli("run", tmp_path / "in", "-o", tmp_path / "plain", "--t", "0.6", "--tile", "64").returncode == 0
    mapped = ("--t-map", tmp_path / "map.png", "--t-feather", "4", "--tile", "64", "--format", "png")
    assert fxsr_cli("run", tmp_path / "in", "-o", tmp_path / "mapped", *mapped).returncode == 0
    jobs: list[tuple[Path, dict[str, Any], Path]] = []
    for path in sorted((tmp_path / "in").iterdir()):
        jobs.append((path, {"t": 0.6}, tmp_path / "plain" / path.name))
        fields = {"t_map": (tmp_path / "map.png").read_bytes(), "t_feather": 4, "format": "png"}
        jobs.append((path, fields, tmp_path / "mapped" / f"{path.stem}.png"))
    with process("--tile", "64") as (_, port), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        running = Serving(None, port, client)  # type: ignore[arg-type]
        with ThreadPoolExecutor(len(jobs)) as pool:
            answers = list(pool.map(lambda job: running.post(job[0].read_bytes(), **job[1]), jobs))
    for answer, (path, _, expected) in zip(answers, jobs, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.content == expected.read_bytes(), path


LARGE = png(np.zeros((800, 800, 1), np.uint8))
_BOMB_HEADER = b"IHDR" + (60000).to_bytes(4, "big") * 2 + SMALL[24:29]
BOMB = SMALL[:12] + _BOMB_HEADER + crc32(_BOMB_HEADER).to_bytes(4, "big") + SMALL[33:]


@pytest.mark.parametrize(
    ("image", "fields", "status", "message"),
    [
        (None, {"t": 0.5}, 422, "image: Field required"),
        (b"", {}, 422, "image: empty file"),
        (b"hello", {}, 422, "image: not an image that can be read: it is a text file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 422, "it is an SVG drawing; export it as PNG"),
        (b"3 2\n1 2 3\n4 5 6\n", {}, 422, "it is a text of numbers"),
        (SMALL[:-30], {}, 422, "damaged"),
        (BOMB, {}, 413, "60000x60000 has more than the 16000000 pixels"),
        (SMALL, {"t": 1.5}, 422, "t: "),
        (SMALL, {"t": "nan"}, 422, "t: "),
        (SMALL, {"t_map": b"no map"}, 422, "t_map: not an image"),
        (SMALL, {"t_map": "mask.png"}, 422, "t_map: 'mask.png' is no style map; send an image file, the word auto, or"),
        (SMALL, {"t_map": "auto:cats"}, 422, "'cats' is no automatic style map; choose of auto, faces, text, focus"),
        (SMALL, {"t_map": "auto:" + "x" * 9000}, 422, "xxx...' is no automatic style map"),
        (b"hello", {"t_map": "auto"}, 422, "image: not an image that can be read"),
        (BOMB, {"t_map": "auto"}, 413, "60000x60000 has more than the 16000000 pixels"),
        (SMALL, {"lossless": True, "quality": 90}, 422, "lossless and quality contradict each other"),
        (SMALL, {"lossless": True, "format": "jpg"}, 422, "JPEG files can't be lossless"),
        (SMALL, {"t_map": BOMB}, 413, "style map t_map: 60000x60000"),
        (SMALL, {"format": "gif"}, 422, "format: 'gif' is none of png, jpg, jpeg"),
        (SMALL, {"quality": 0}, 422, "quality: "),
        (SMALL, {"outscale": 65}, 422, "outscale: "),
        (LARGE, {"outscale": 64}, 413, "51200x51200 has more than the 256000000 pixels"),
        (SMALL, {"model": "other"}, 422, "no such model; there are m"),
    ],
)
def test_bad_requests_are_told_why(
    plain: Serving, image: bytes | None, fields: dict[str, Any], status: int, message: str
) -> None:
    answer = plain.post(image, **fields)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert message in problem["detail"]
    assert tempfile.gettempdir() not in problem["detail"]


def test_long_narrow_images_are_refused_for_what_they_would_take(plain: Serving) -> None:
    answer = plain.post(png(np.zeros((1, 20000, 1), np.uint8)))
    assert answer.status_code == 413
    assert "20000x1 has a side of more than the 16000 pixels" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x; charset=idna"}, "must be utf-8"),
        ({"Content-Type": "multipart/form-data; charset=utf-8; boundary=x; charset*=utf-8''idna"}, "must be utf-8"),
        ({"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"}, "Content-Encoding"),
    ],
)
def test_what_texts_are_encoded_in_is_not_the_clients_to_choose(
    headers: dict[str, str], message: str, plain: Serving
) -> None:
    answer = plain.client.post("/v1/upscale", content=b"--x--", headers=headers)
    assert answer.status_code == 415
    assert message in answer.json()["detail"]


def test_small_requests_do_not_wait_behind_large_ones_that_fill_all_threads() -> None:
    gate = Gate()
    large = png(np.random.default_rng(0).integers(0, 255, (800, 800, 3), np.uint8))
    with serving(nearest(gate), Settings(at_once=1)) as running, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(running.post, large) for _ in range(2)]
        assert gate.entered.wait(200)
        small = pool.submit(running.post, SMALL)
        wait_until(lambda: metric(running, "fxsr_requests_in_flight") == 3)
        gate.opened.set()
        assert small.result(200).status_code == 200
        assert not all(each.done() for each in waiting)
        assert [each.result(200).status_code for each in waiting] == [200, 200]


def test_a_fault_of_the_server_is_a_problem_too_and_other_models_stay_ready() -> None:
    class Faulty(NearestSession):
        def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
            raise ValueError("a fault")

    def both() -> dict[str, Upscaler]:
        return {"bad": Upscaler(Faulty(), 64, 8), "good": Upscaler(NearestSession(), 64, 8)}

    with serving(both) as running:
        answer = running.post(SMALL)
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "a fault" not in answer.text
        assert running.client.get("/v2/models/bad/ready").status_code == 503
        assert running.client.get("/v2/models/good/ready").status_code == 200
        assert running.client.get("/v2/health/ready").status_code == 200


def test_a_model_with_a_fixed_style_takes_no_other() -> None:
    with serving(nearest(NearestSession(baked_t=0.5))) as running:
        assert running.post(SMALL).status_code == 200
        for choice in ({"t": 0.2}, {"t_map": SMALL}):
            answer = running.post(SMALL, **choice)
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
            assert "m was exported with t fixed at 0.5; leave out" in answer.json()["detail"]


def test_a_signal_before_the_server_listens_to_any_ends_it(tmp_path: Path) -> None:
    code = """
import os, signal, cli, uvicorn
from fxsr.cli.app import main
run = uvicorn.Server.run
def late(self, *arguments, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return run(self, *arguments, **options)
uvicorn.Server.run = late
import sys
sys.argv = ["fxsr", "serve", "--port", "0"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 143), done.stderr


def test_what_a_format_could_not_keep_is_said(plain: Serving) -> None:
    answer = plain.post(png(np.zeros((8, 8, 4), np.uint8)), format="jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["fxsr-notes"] == ".jpg holds no alpha: laid on white"


def test_a_token_is_asked_for_but_not_by_those_who_watch() -> None:
    with serving(nearest(), Settings(token="secret")) as running:
        refused = running.post(SMALL)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert running.client.get("/v2").status_code == 401
        assert running.client.get("/v2/health/ready").status_code == 200
        running.client.headers["authorization"] = "Bearer secret"
        assert running.post(SMALL).status_code == 200


def test_time_is_limited_while_working_and_while_receiving() -> None:
    gate = Gate()
    with serving(nearest(gate), Settings(seconds=2)) as running:
        answer = running.post(SMALL)
        assert answer.status_code == 503
        assert "not done within 2 s" in answer.json()["detail"]
        gate.opened.set()
        wait_until(lambda: running.app.in_flight == 0)
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=200)
        connection.putrequest("POST", "/v2/models/m/infer")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408
        connection.close()


def test_a_client_that_goes_away_frees_its_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gate = Gate()
    with serving(nearest(gate, tile=16)) as running:
        image = png(np.zeros((100, 100, 3), np.uint8))
        body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + image + b"\r\n--x--\r\n"
        with closing(http.client.HTTPConnection("127.0.0.1", running.port)) as connection:
            connection.request("POST", "/v1/upscale", body, {"Content-Type": "multipart/form-data; boundary=x"})
            assert gate.entered.wait(200)
        wait_until(lambda: metric(running, "fxsr_tiles_waiting") == 0)
        wait_until(lambda: running.app.in_flight == 0)
        gate.opened.set()
        wait_until(lambda: not list(tmp_path.glob("*/*/")))
    assert len(gate.seen) <= 2  # what the scheduler had taken already, of 9 batches


@pytest.mark.parametrize(("name", "media_type"), [("JPEG", "image/jpeg"), ("tif", "image/tiff"), ("PNG", "image/png")])
def test_formats_have_the_names_that_fxsr_run_takes(plain: Serving, name: str, media_type: str) -> None:
    answer = plain.post(SMALL, format=name)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "WEBP"])
def test_the_server_reads_the_formats_that_fxsr_run_reads(plain: Serving, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 200)).save(file, kind, lossless=kind == "WEBP")
    answer = plain.post(file.getvalue())
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ("image/webp" if kind == "WEBP" else "image/png")
    assert kind != "WEBP" or b"VP8L" in answer.content[:64]


def test_metrics_count_requests_tiles_and_batches(plain: Serving) -> None:
    before = metric(plain, 'fxsr_tiles_total{model="m"}')
    assert plain.post(SMALL).status_code == 200
    wait_until(lambda: metric(plain, 'fxsr_tiles_total{model="m"}') == before + 1)
    wait_until(lambda: metric(plain, 'fxsr_batch_tiles_count{model="m"}') > 0)
    assert metric(plain, 'fxsr_requests_total{method="POST",route="/v1/upscale",status="200"}') > 0
    assert metric(plain, "process_resident_memory_bytes") > 1e6


def test_sigterm_lets_work_in_flight_end_and_takes_no_more(tmp_path: Path) -> None:
    image = png(read_image(SAMPLE).pixels[:160, :160])
    with process() as (running, port), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(Serving(None, port, client).post, image)  # type: ignore[arg-type]
            wait_until(lambda: "fxsr_requests_in_flight 1.0" in client.get("/metrics").text)
            running.send_signal(signal.SIGTERM)
            assert answer.result(200).status_code == 200
        assert running.wait(200) == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/v2")


def test_a_refused_image_leaves_no_thread_behind(plain: Serving) -> None:
    """One left for the garbage collector to end stops the server where that runs in a thread that is just beginning."""
    noise = png(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8))
    before = {thread for thread in threading.enumerate() if not thread.name.startswith("request")}
    for image in (b"no image", SMALL[:60], noise[: len(noise) // 2]):
        assert plain.post(image).status_code == 422
        left = {thread for thread in threading.enumerate() if not thread.name.startswith("request")} - before
        assert not left


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--host", "192.0.2.1"), 2, "can't listen on 192.0.2.1, port 8000"),
        (("--port", "0", "--engine", "nothing.onnx"), 2, "nothing.onnx: no such file"),
        (
            ("--port", "0", "--engine", "a=fxsr-pd-x4-small", "--engine", "a=fxsr-pd-x4-small"),
            2,
            "two models are called a",
        ),
        (("--host", "192.168..1"), 2, "--host is '192.168..1', which is no address or name of a machine"),
        (("--host", ""), 2, "the value of --host is empty"),
        (("--port", "0", "--timeout", "nan"), 2, "--timeout is nan"),
        (("--port", "0", "--max-megabytes", "1e-9"), 2, "--max-megabytes is 1e-09; it must be at least 1e-06"),
        (("--port", "0", "--allow-host", "http://x"), 2, "it must be a name without http://"),
        (("--port", "0", "--max-requests", "0"), 2, "--max-requests is 0; it must be above 0"),
        (("--port", "0", "--token", ""), 2, "the value of --token is empty"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(arguments: tuple[str, ...], status: int, message: str) -> None:
    done = fxsr_here("serve", *arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 2
