"""`fxsr serve` as clients meet it: real sockets, NVIDIA's own client, bad input, load, and the end."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from fxsr.checkpoint import save_checkpoint
from fxsr.export import ExportRequest, export_model
from fxsr.export.graph import GraphOptions
from fxsr.image import Picture, read_image, write_image
from fxsr.runtime.serve.app import create_app
from fxsr.runtime.serve.guard import Guard
from fxsr.runtime.serve.server import listen, make_server, open_models
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.upscaler import Upscaler, load
from tests.support import SAMPLE, TINY, NearestSession, ended, fxsr_cli, fxsr_process, golden_checkpoint

RNG = np.random.default_rng(9)


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


SMALL = png(RNG.integers(0, 255, (12, 16, 3), np.uint8))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest network as float32, float16, bytes and packed."""
    folder = tmp_path_factory.mktemp("models")
    checkpoint = folder / "tiny.safetensors"
    save_checkpoint(checkpoint, golden_checkpoint(TINY, 3))
    for name, options in {
        "fp32": GraphOptions(),
        "fp16": GraphOptions("fp16"),
        "bytes": GraphOptions(io="uint8"),
        "packed": GraphOptions(packed=True),
        "baked": GraphOptions(baked_t=0.5),
    }.items():
        export_model(ExportRequest(checkpoint, folder / name, options, check=False))
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Serving]:
    found = [f"{path.parent.name}={path}" for path in sorted(models.glob("*/*.onnx"))]
    with serving(open_models(found, lambda path: load(path, "cpu", tile=48))) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Serving]:
    with serving(nearest()) as running:
        yield running


@contextmanager
def process(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`fxsr serve` as a process of its own, and its port."""
    with ended(fxsr_process("serve", "--port", "0", *arguments)) as running:
        assert running.stderr
        address = running.stderr.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address + running.stderr.read()
        port = int(address.rpartition(":")[2])
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield running, port
        if running.poll() is None:
            running.terminate()
        running.communicate(timeout=60)


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


def test_tritons_client_works_unchanged(server: Serving, models: Path) -> None:
    lr = RNG.random((2, 3, 24, 30), np.float32)
    t_map = RNG.random((2, 1, 24, 30), np.float32)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("fp32")
        assert client.is_model_ready("fp16", "1")
        assert not client.is_model_ready("nothing")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        described = client.get_model_metadata("fp16", "1")
        assert [each["datatype"] for each in described["inputs"]] == ["FP16", "FP16"]
        assert described["inputs"][0] == {"name": "lr", "datatype": "FP16", "shape": [-1, 3, -1, -1]}
        for name, dtype in (("fp32", "float32"), ("fp16", "float16")):
            (path,) = (models / name).glob("*.onnx")
            with load(path, "cpu") as up:
                for style in (t_map, np.full((1, 1, 1, 1), 0.3, np.float32)):
                    expected = up.session.run(lr.astype(dtype), style.astype(dtype))
                    for binary in (True, False) if dtype == "float32" else (True,):
                        sr = ask(client, name, binary, lr=lr.astype(dtype), t_map=style.astype(dtype))
                        assert sr.dtype == dtype
                        assert np.array_equal(sr, expected)


def test_other_forms_of_the_graph_take_what_they_were_exported_to_take(server: Serving, models: Path) -> None:
    lr = RNG.integers(0, 256, (1, 20, 18, 3), np.uint8)
    t_map = RNG.integers(0, 256, (1, 1, 20, 18), np.uint8)
    planes, style = lr.transpose(0, 3, 1, 2) / np.float32(255), t_map / np.float32(255)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        with load(next((models / "fp32").glob("*.onnx")), "cpu") as up:
            expected = up.session.run(planes, style)
        sr = ask(client, "bytes", lr=lr, t_map=t_map)
        assert sr.dtype == np.uint8
        assert np.abs(sr.transpose(0, 3, 1, 2) / 255 - expected.clip(0, 1)).max() < 0.6 / 255
        sr = ask(client, "packed", lr_t=np.concatenate([planes, style], 1))
        assert np.allclose(sr, expected, atol=1e-5)
        with load(next((models / "fp32").glob("*.onnx")), "cpu") as up:
            expected = up.session.run(planes, np.full((1, 1, 1, 1), 0.5, np.float32))
        assert np.allclose(ask(client, "baked", lr=planes), expected, atol=1e-5)


def test_a_model_is_called_as_its_file_is(models: Path) -> None:
    (path,) = (models / "fp16").glob("*.onnx")
    opened = open_models(["fxsr-pd-x4-small", str(path), f"mine={path}"], lambda path: load(path, "cpu"))()
    assert list(opened) == ["fxsr-pd-x4-small", path.stem, "mine"]
    for upscaler in opened.values():
        upscaler.close()


def test_tensors_beyond_a_tile_are_cut_into_tiles(server: Serving, models: Path) -> None:
    lr = RNG.random((1, 3, 60, 100), np.float32)
    with load(next((models / "fp32").glob("*.onnx")), "cpu", tile=48) as up:
        expected = up(lr[0].transpose(1, 2, 0), 0.7)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        sr = ask(client, "fp32", lr=lr, t_map=np.full((1, 1, 1, 1), 0.7, np.float32))
    assert np.array_equal(sr[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("nothing", {}, "no such model; there are baked, bytes, fp16, fp32, packed"),
        ("fp16", {}, "lr is of FP32; it must be of FP16"),
        ("fp32", {"lr": np.zeros((1, 4, 8, 8), np.float32)}, r"lr has the shape \[1, 4, 8, 8\]"),
        ("fp32", {"lr": np.full((1, 3, 8, 8), np.nan, np.float32)}, "NaN"),
        ("fp32", {"t_map": np.full((1, 1, 1, 1), 1.5, np.float32)}, "must lie in 0..1"),
        ("fp32", {"t_map": np.zeros((1, 1, 7, 8), np.float32)}, "its sizes must be 1, or those of lr"),
        ("fp32", {"t_map": None}, "the input t_map is missing"),
        ("fp32", {"more": np.zeros(3, np.float32)}, "no input more"),
    ],
)
def test_tensors_that_are_wrong_are_refused(server: Serving, model: str, changes: dict[str, Any], message: str) -> None:
    given = {"lr": np.zeros((1, 3, 8, 8), np.float32), "t_map": np.zeros((1, 1, 1, 1), np.float32), **changes}
    with (
        triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
        pytest.raises(InferenceServerException, match=message),
    ):
        ask(client, model, **{name: array for name, array in given.items() if array is not None})


def ask(client: Any, model: str, binary: bool = True, **inputs: NDArray[Any]) -> Any:
    names = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}
    given = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, array.shape, names[array.dtype.name])
        tensor.set_data_from_numpy(array, binary_data=binary)
        given.append(tensor)
    return client.infer(model, given, outputs=[triton.InferRequestedOutput("sr", binary_data=binary)]).as_numpy("sr")


LARGE = png(np.zeros((800, 800, 1), np.uint8))
BOMB = SMALL[:16] + (60000).to_bytes(4, "big") * 2 + SMALL[24:]


@pytest.mark.parametrize(
    ("image", "fields", "status", "message"),
    [
        (None, {"t": 0.5}, 422, "image: Field required"),
        (b"", {}, 422, "not a PNG, JPEG, WebP, TIFF or BMP file"),
        (b"hello", {}, 422, "not a PNG, JPEG, WebP, TIFF or BMP file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 422, "not a PNG"),
        (SMALL[:-30], {}, 422, "damaged"),
        (BOMB, {}, 413, "60000x60000 has more than the 16000000 pixels"),
        (SMALL, {"t": 1.5}, 422, "t: "),
        (SMALL, {"t": "nan"}, 422, "t: "),
        (SMALL, {"t_map": b"no map"}, 422, "t_map: not a PNG"),
        (SMALL, {"t_map": BOMB}, 413, "style map t_map: 60000x60000"),
        (SMALL, {"format": "gif"}, 422, "format: "),
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


def test_what_a_format_could_not_keep_is_said(plain: Serving) -> None:
    answer = plain.post(png(np.zeros((8, 8, 4), np.uint8)), format="jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["fxsr-notes"] == ".jpg holds no alpha: laid on white"


def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() -> None:
    with serving(nearest(), Settings(max_bytes=1000)) as running:
        assert running.post(b"x" * 2000).status_code == 413
        chunks = (b"x" * 300 for _ in range(10))
        answer = running.client.post("/v2/models/m/infer", content=chunks)
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["detail"]


def test_a_token_is_asked_for_but_not_by_those_who_watch() -> None:
    with serving(nearest(), Settings(token="secret")) as running:
        refused = running.post(SMALL)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert running.client.get("/v2").status_code == 401
        assert running.client.get("/v2/health/ready").status_code == 200
        running.client.headers["authorization"] = "Bearer secret"
        assert running.post(SMALL).status_code == 200


def test_a_server_that_is_full_says_when_to_come_back() -> None:
    gate = Gate()
    with serving(nearest(gate), Settings(max_requests=1)) as running, ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.post, SMALL)
        assert gate.entered.wait(20)
        answer = running.post(SMALL)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert running.client.get("/v2/health/ready").status_code == 200
        gate.opened.set()
        assert first.result(20).status_code == 200


def test_time_is_limited_while_working_and_while_receiving() -> None:
    gate = Gate()
    with serving(nearest(gate), Settings(seconds=0.5)) as running:
        answer = running.post(SMALL)
        assert answer.status_code == 503
        assert "not done within 0.5 s" in answer.json()["detail"]
        gate.opened.set()
        wait_until(lambda: running.app.in_flight == 0)
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
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
            assert gate.entered.wait(20)
        wait_until(lambda: metric(running, "fxsr_tiles_waiting") == 0)
        wait_until(lambda: running.app.in_flight == 0)
        gate.opened.set()
        wait_until(lambda: not list(tmp_path.iterdir()))
    assert len(gate.seen) <= 2  # what the scheduler had taken already, of 9 batches


def test_metrics_count_requests_tiles_and_batches(server: Serving) -> None:
    before = metric(server, 'fxsr_tiles_total{model="fp32"}')
    assert server.post(SMALL, model="fp32").status_code == 200
    wait_until(lambda: metric(server, 'fxsr_tiles_total{model="fp32"}') == before + 1)
    wait_until(lambda: metric(server, 'fxsr_batch_tiles_count{model="fp32"}') > 0)
    assert metric(server, 'fxsr_requests_total{method="POST",route="/v1/upscale",status="200"}') > 0
    assert metric(server, "process_resident_memory_bytes") > 1e6


def test_sigterm_lets_work_in_flight_end_and_takes_no_more(tmp_path: Path) -> None:
    image = png(read_image(SAMPLE).pixels[:160, :160])
    with process() as (running, port), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(Serving(None, port, client).post, image)  # type: ignore[arg-type]
            wait_until(lambda: "fxsr_requests_in_flight 1.0" in client.get("/metrics").text)
            running.send_signal(signal.SIGTERM)
            assert answer.result(60).status_code == 200
        assert running.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/v2")


def test_a_refused_image_leaves_no_thread_behind(plain: Serving) -> None:
    """One left for the garbage collector to end stops the server where that runs in a thread that is just beginning."""
    for image in (b"no image", SMALL[:60]):
        assert plain.post(image).status_code == 422
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("image")]


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
        (("--port", "0", "--max-requests", "0"), 2, "max-requests is 0; it must be above 0"),
        (("--port", "0", "--token", ""), 2, "the token must be printable ASCII, and not empty"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(arguments: tuple[str, ...], status: int, message: str) -> None:
    done = fxsr_cli("serve", *arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def metric(running: Serving, name: str) -> float:
    lines = running.client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it never came so far")
