"""Bodies of the Open Inference Protocol, to tensors and back."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.tensors import decode_request, encode_response, inflate


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "lr", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]} | changes


def body(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def test_numbers_in_json_flat_or_nested() -> None:
    for data in ([1, 2, 3], [[1, 2.0, 3]]):
        request = decode_request(body(tensor(data=data)), None)
        assert np.array_equal(request.inputs["lr"], np.array([[1, 2, 3]], np.float32))
        assert request.inputs["lr"].dtype == np.float32


def test_bytes_behind_the_json_in_the_order_of_inputs() -> None:
    first, second = np.arange(3, dtype=np.float16), np.arange(4, dtype=np.uint8)
    head = body(
        tensor(datatype="FP16", shape=[3], data=None, parameters={"binary_data_size": 6}),
        tensor(name="t_map", datatype="UINT8", shape=[2, 2], parameters={"binary_data_size": 4}),
        id="7",
        parameters={"binary_data_output": True},
    )
    request = decode_request(head + first.tobytes() + second.tobytes(), str(len(head)))
    assert np.array_equal(request.inputs["lr"], first)
    assert np.array_equal(request.inputs["t_map"], second.reshape(2, 2))
    assert request.binary
    sr = np.linspace(0, 1, 6, dtype=np.float16).reshape(1, 6)
    answer, headers = encode_response("m", "1", request, sr)
    end = int(headers["Inference-Header-Content-Length"])
    assert json.loads(answer[:end]) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "sr", "datatype": "FP16", "shape": [1, 6], "parameters": {"binary_data_size": 12}},
        ],
    }
    assert answer[end:] == sr.tobytes()


def test_an_output_may_ask_for_bytes_itself() -> None:
    for wanted in (True, False):
        outputs = [{"name": "sr", "parameters": {"binary_data": wanted}}]
        request = decode_request(body(tensor(), outputs=outputs, parameters={"binary_data_output": not wanted}), None)
        assert request.binary is wanted
        answer, headers = encode_response("m", "1", request, np.ones((1, 2), np.float32))
        assert ("Inference-Header-Content-Length" in headers) is wanted
        assert wanted or json.loads(answer)["outputs"][0]["data"] == [1, 1]


@pytest.mark.parametrize(
    ("sent", "length", "message"),
    [
        (b"", None, "not JSON"),
        (b"[]", None, "Expected `object`, got `array`"),
        (b'{"id":' + b"[" * 100_000, None, "got `array`"),
        (b'{"x":' + b"[" * 100_000, None, "not JSON"),
        (b"{}", None, "missing required field `inputs`"),
        (b"{}", "x", "not a number"),
        (b"{}", "9", "the body has 2 bytes"),
        (body(1), None, "Expected `object`, got `int`"),
        (body(tensor(), tensor()), None, "lr is given twice"),
        (body(tensor(datatype="INT64")), None, "INT64; it must be one of FP32, FP16, UINT8"),
        (body(tensor(shape=[1, -3])), None, "not a list of sizes"),
        (body(tensor(shape=[True, 3])), None, "Expected `int`, got `bool`"),
        (body(tensor(shape=[])), None, "not a list of sizes"),
        (body(tensor(shape=[2, 3])), None, "lr has 3 numbers; its shape has 6"),
        (body(tensor(data=[1, [2], 3])), None, "not numbers"),
        (body(tensor(data=["1", 2, 3])), None, "not numbers"),
        (body(tensor(data=[[1], [2], [3]])), None, "not numbers"),
        (body(tensor(data=[[], [1, 2, 3]])), None, "not numbers"),
        (body(tensor(data=[True, 2, 3])), None, "not numbers"),
        (body(tensor(data=None)), None, "lr has no data"),
        (body(tensor(datatype="UINT8", data=[1, 2, 3.0])), None, "not numbers of its type"),
        (body(tensor(datatype="UINT8", data=[1, 2, -1])), None, "not numbers of its type"),
        (body(tensor(datatype="UINT8", data=[1, 2, 256])), None, "not numbers of its type"),
        (body(tensor(datatype="FP16")), None, "JSON can't hold FP16"),
        (body(tensor(parameters={"binary_data_size": 11})), None, "must be 12"),
        (body(tensor(parameters={"binary_data_size": 12})), None, "the body ends before lr"),
        (body(tensor(parameters={"shared_memory_region": "x"})), None, "shared memory is not supported"),
        (body(tensor(parameters=[])), None, "Expected `object`"),
        (body(tensor()) + b"12", str(len(body(tensor()))), "2 bytes at the end"),
        (body(tensor(), outputs=[{"name": "hr"}]), None, "the only output is sr"),
        (body(tensor(), outputs=[{"name": "sr", "parameters": {"classification": 3}}]), None, "not supported"),
        (body(tensor(), parameters={"binary_data_output": 1}), None, "Expected `bool . null`, got `int`"),
        (body(tensor(), id=7), None, "Expected `str . null`, got `int`"),
    ],
)
def test_what_is_wrong_is_said(sent: bytes, length: str | None, message: str) -> None:
    with pytest.raises(ProblemError, match=message) as caught:
        decode_request(sent, length)
    assert caught.value.status == 400


def test_halves_cannot_go_out_as_json() -> None:
    request = decode_request(body(tensor()), None)
    with pytest.raises(ProblemError, match="ask for binary data"):
        encode_response("m", "1", request, np.ones((1, 2), np.float16))


def test_a_long_text_among_numbers_is_refused_before_there_is_room_made_for_it() -> None:
    data = ["x" * 10**6, *range(10**5)]  # numpy would want 400 GB
    entry = {"name": "lr", "datatype": "FP32", "shape": [len(data)], "data": data}
    with pytest.raises(ProblemError, match="are not numbers"):
        decode_request(json.dumps({"inputs": [entry]}).encode(), None)


HALF_MEGABYTE = 1 << 19


@pytest.mark.parametrize(
    "changes",
    [
        {"data": b"[" + b"[]," * (HALF_MEGABYTE // 3) + b"[]]"},
        {"data": b"[" + b"[[[]]]," * (HALF_MEGABYTE // 7) + b"1]"},
        {"data": b"[" + b"1," * (HALF_MEGABYTE // 2) + b"1]", "shape": b"[%d]" % (HALF_MEGABYTE // 2 + 1)},
        {"data": b"[" + b"[[1]]," * (HALF_MEGABYTE // 6) + b"[[1]]]", "shape": b"[%d,1,1]" % (HALF_MEGABYTE // 6 + 1)},
        {"data": b"[" + b'"",' * (HALF_MEGABYTE // 3) + b"1]"},
        {"shape": b"[" + b"999," * (HALF_MEGABYTE // 4) + b"1]"},
        {"parameters": b'{"x": [' + b"{}," * (HALF_MEGABYTE // 3) + b"{}]}"},
    ],
    ids=["lists", "nested", "numbers", "nested numbers", "texts", "shape", "unknown"],
)
def test_json_takes_memory_in_proportion_to_its_size(changes: dict[str, bytes]) -> None:
    entry = {"name": b'"lr"', "datatype": b'"FP32"', "shape": b"[1]", "data": b"[1]"} | changes
    sent = b'{"inputs": [{%s}]}' % b", ".join(b'"%s": %s' % (key.encode(), value) for key, value in entry.items())
    tracemalloc.start()
    try:
        with suppress(ProblemError):
            decode_request(sent, None)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 * len(sent)


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (b"plain", "gzip", "is not compressed by gzip"),
        (gzip.compress(bytes(1001), mtime=0), "gzip", "may have 1000 bytes"),
        (gzip.compress(bytes(100), mtime=0)[:-9], "gzip", "ends too early"),
        (b"", "br", "may be gzip or deflate"),
    ],
)
def test_compressed_bodies_that_are_not_taken(body: bytes, encoding: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        inflate(body, encoding, 1000)
