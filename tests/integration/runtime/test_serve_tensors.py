"""The Open Inference Protocol of `fxsr serve`, as NVIDIA's own client speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from fxsr.export import ExportRequest, export_model
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.checkpoint import save_checkpoint
from fxsr.runtime.serve.server import open_models
from fxsr.runtime.upscale.upscaler import load
from tests.serving import Serving, serving
from tests.support import TINY, golden_checkpoint

RNG = np.random.default_rng(9)


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


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_requests_may_be_compressed(how: str, server: Serving) -> None:
    lr = RNG.random((1, 3, 16, 16), np.float32)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        inputs = [triton.InferInput("lr", lr.shape, "FP32"), triton.InferInput("t_map", (1, 1, 1, 1), "FP32")]
        inputs[0].set_data_from_numpy(lr)
        inputs[1].set_data_from_numpy(np.full((1, 1, 1, 1), 0.3, np.float32))
        plain, packed = (
            client.infer("fp32", inputs, request_compression_algorithm=each).as_numpy("sr") for each in (None, how)
        )
    assert np.array_equal(plain, packed)


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
        (
            "fp32",
            {"lr": np.zeros((1, 3, 300, 300), np.float32)},
            "numbers are more than the 1048576 that can be sent as JSON",
        ),
        ("fp32", {"lr": np.zeros((1025, 3, 1, 1), np.float32)}, "1025 images are more than the 1024"),
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
    binary = "sent as JSON" not in message
    with (
        triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
        pytest.raises(InferenceServerException, match=message),
    ):
        ask(client, model, binary, **{name: array for name, array in given.items() if array is not None})


def ask(client: Any, model: str, binary: bool = True, **inputs: NDArray[Any]) -> Any:
    names = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}
    given = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, array.shape, names[array.dtype.name])
        tensor.set_data_from_numpy(array, binary_data=binary)
        given.append(tensor)
    return client.infer(model, given, outputs=[triton.InferRequestedOutput("sr", binary_data=binary)]).as_numpy("sr")


@pytest.mark.parametrize("side", [24, 60], ids=["one tile", "tiles"])
def test_results_that_are_not_finite_are_an_error(side: int, server: Serving) -> None:
    lr = triton.InferInput("lr", [1, 3, side, side], "FP16")
    lr.set_data_from_numpy(np.full((1, 3, side, side), 65000, np.float16))  # half precision can't hold the result
    t_map = triton.InferInput("t_map", [1, 1, 1, 1], "FP16")
    t_map.set_data_from_numpy(np.zeros((1, 1, 1, 1), np.float16))
    with (
        triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
        pytest.raises(InferenceServerException, match="gives NaN or infinity"),
    ):
        client.infer("fp16", [lr, t_map])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused(value: float, server: Serving) -> None:
    lr = triton.InferInput("lr", [1, 3, 8, 8], "FP32")
    lr.set_data_from_numpy(np.full((1, 3, 8, 8), value, np.float32))
    t_map = triton.InferInput("t_map", [1, 1, 1, 1], "FP32")
    t_map.set_data_from_numpy(np.zeros((1, 1, 1, 1), np.float32))
    with (
        triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
        pytest.raises(InferenceServerException, match="the image holds NaN or infinity"),
    ):
        client.infer("fp32", [lr, t_map])


def test_tritons_client_reads_index_configuration_and_statistics(server: Serving) -> None:
    lr, t_map = np.zeros((2, 3, 24, 30), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        index = client.get_model_repository_index()
        assert {"name": "fp16", "version": "1", "state": "READY", "reason": ""} in index
        assert {model["name"] for model in index} == {"fp32", "fp16", "bytes", "packed", "baked"}
        config = client.get_model_config("fp32", "1")
        assert config["input"][0] == {"name": "lr", "data_type": "TYPE_FP32", "dims": [-1, 3, -1, -1]}
        assert [each["name"] for each in config["output"]] == ["sr"]
        assert (config["max_batch_size"], config["instance_group"][0]["kind"]) == (0, "KIND_CPU")
        before = client.get_inference_statistics("baked")["model_stats"][0]
        image = triton.InferInput("lr", lr.shape, "FP32").set_data_from_numpy(lr)
        client.infer("baked", [image])
        style = triton.InferInput("t_map", t_map.shape, "FP32").set_data_from_numpy(t_map)
        with pytest.raises(InferenceServerException, match="no input t_map"):
            client.infer("baked", [image, style])
        after = client.get_inference_statistics("baked", "1")["model_stats"][0]
        with pytest.raises(InferenceServerException, match="no such model"):
            client.get_model_config("nothing")
        everything = client.get_inference_statistics()["model_stats"]
    counts = [
        (each["inference_count"], *(each["inference_stats"][key]["count"] for key in ("success", "fail", "queue")))
        for each in (before, after)
    ]
    assert np.subtract(counts[1], counts[0]).tolist() == [2, 1, 1, 2]
    assert after["execution_count"] > 0
    assert after["inference_stats"]["compute_infer"]["ns"] > 0
    assert after["last_inference"] > before["last_inference"]
    sizes = {each["batch_size"]: each["compute_infer"]["count"] for each in after["batch_stats"]}
    assert sum(size * count for size, count in sizes.items()) == after["inference_count"]
    assert {each["name"] for each in everything} == {model["name"] for model in index}
