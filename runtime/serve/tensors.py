"""Bodies of the Open Inference Protocol, version 2: JSON, with tensors inside it or as bytes after it.

Bytes after the JSON are the protocol's binary tensor extension, which Triton and its clients use: the header
`Inference-Header-Content-Length` is the length of the JSON, and the bytes of each input that has a `binary_data_size`
follow in order.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np

from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.session import Array

DATATYPES = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}
"""The protocol's names for numpy types."""
_DTYPES = {name: np.dtype(dtype) for dtype, name in DATATYPES.items()}

_MAX_JSON = 16 << 20
"""Largest size of the JSON, in bytes; parsed, it takes many times as much memory."""
_MAX_AXES = 8


@dataclass(frozen=True)
class InferRequest:
    """A request to upscale tensors."""

    id: str | None
    inputs: Mapping[str, Array]
    binary: bool
    """Whether `sr` is sent as bytes."""


def decode_request(body: bytes, header_length: str | None) -> InferRequest:
    """Parse a request body.

    Args:
        header_length: value of `Inference-Header-Content-Length`; None: the whole body is JSON.

    Raises:
        ProblemError: it is not a request of the protocol.
    """
    if header_length is not None and not re.fullmatch("[0-9]{1,12}", header_length):
        raise _bad("Inference-Header-Content-Length is not a number")
    end = len(body) if header_length is None else int(header_length)
    if end > len(body):
        raise _bad(f"Inference-Header-Content-Length is {end}, but the body has {len(body)} bytes")
    if end > _MAX_JSON:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{end} bytes of JSON are more than {_MAX_JSON}: send binary data"
        )
    try:
        request = json.loads(body[:end])
    except (ValueError, RecursionError) as error:
        raise _bad("the request is not JSON") from error
    if not isinstance(request, dict):
        raise _bad("the request is not a JSON object")
    entries = _get(request, "inputs", list)
    inputs: dict[str, Array] = {}
    rest = memoryview(body)[end:]
    for entry in entries:
        if not isinstance(entry, dict):
            raise _bad("an input is not a JSON object")
        name = _get(entry, "name", str)
        if name in inputs:
            raise _bad(f"the input {name[:40]} is given twice")
        inputs[name], rest = _decode(name, entry, rest)
    if rest:
        raise _bad(f"{len(rest)} bytes at the end belong to no input")
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise _bad("id is not a string")
    return InferRequest(request_id, inputs, _wants_binary(request))


def encode_response(model: str, version: str, request: InferRequest, sr: Array) -> tuple[bytes, Mapping[str, str]]:
    """The response body and its headers.

    Raises:
        ProblemError: JSON was requested, and can't hold these values.
    """
    output: dict[str, Any] = {"name": "sr", "datatype": DATATYPES[sr.dtype.name], "shape": list(sr.shape)}
    response: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": [output]}
    if request.id is not None:
        response["id"] = request.id
    if not request.binary:
        if sr.dtype == np.float16:
            raise _bad("JSON can't hold FP16: ask for binary data")
        output["data"] = sr.ravel().tolist()
        try:
            return json.dumps(response, allow_nan=False).encode(), {"Content-Type": "application/json"}
        except ValueError as error:
            raise _bad("sr is not finite, and JSON holds finite numbers only: ask for binary data") from error
    output["parameters"] = {"binary_data_size": sr.nbytes}
    head = json.dumps(response).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return head + np.ascontiguousarray(sr).tobytes(), headers


def _decode(name: str, entry: Mapping[str, Any], rest: memoryview) -> tuple[Array, memoryview]:
    """An input, and the bytes that remain for the next inputs."""
    name = name[:40]
    datatype, shape = _get(entry, "datatype", str), _get(entry, "shape", list)
    if datatype not in _DTYPES:
        raise _bad(f"{name} is of {datatype[:20]}; it must be one of {', '.join(_DTYPES)}")
    if not all(type(size) is int and 0 < size < 2**31 for size in shape) or not 0 < len(shape) <= _MAX_AXES:
        raise _bad(f"the shape of {name} is not a list of sizes")
    dtype, count = _DTYPES[datatype], math.prod(shape)
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _bad(f"the parameters of {name} are not a JSON object")
    if "shared_memory_region" in parameters:
        raise _bad("shared memory is not supported; send the data itself")
    size = parameters.get("binary_data_size")
    if size is None:
        return _from_json(name, _get(entry, "data", list), dtype, shape, count), rest
    if type(size) is not int or size != count * dtype.itemsize:
        raise _bad(f"binary_data_size of {name} must be {count * dtype.itemsize}, for its shape and type")
    if size > len(rest):
        raise _bad(f"the body ends before {name} does")
    return np.frombuffer(rest[:size], dtype).reshape(shape), rest[size:]


def _from_json(name: str, data: list[Any], dtype: np.dtype[Any], shape: Sequence[int], count: int) -> Array:
    if dtype == np.float16:
        raise _bad("JSON can't hold FP16: send binary data")
    try:
        if not _all_numbers(data):  # for one long string, numpy would give every element that length
            raise ValueError
        values = np.array(data)
        if values.dtype.kind not in "iuf":
            raise ValueError
        if dtype.kind == "u" and not (values.dtype.kind in "iu" and (values >= 0).all() and (values <= 255).all()):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise _bad(f"the data of {name} are not numbers of its type, or its rows differ in length") from error
    if values.size != count:
        raise _bad(f"{name} has {values.size} numbers; its shape has {count}")
    with np.errstate(over="ignore"):
        return values.astype(dtype).reshape(shape)


def _all_numbers(data: list[Any]) -> bool:
    """Whether nested lists hold only numbers."""
    waiting = [data]
    while waiting:
        for each in waiting.pop():
            if type(each) is list:
                waiting.append(each)
            elif type(each) is not int and type(each) is not float:
                return False
    return True


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Decompress a body; Triton's clients can send it compressed.

    Args:
        encoding: value of `Content-Encoding`: gzip or deflate.
        limit: largest size of the result, in bytes.

    Raises:
        ProblemError: it is not compressed in this way, or the result is larger.
    """
    if encoding not in ("gzip", "deflate"):
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding may be gzip or deflate")
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # detects either
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise _bad(f"the body is not compressed by {encoding}") from error
    if len(plain) > limit:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {limit} bytes; this one has more")
    if not decoder.eof:
        raise _bad("the body ends too early")
    return plain


def _wants_binary(request: Mapping[str, Any]) -> bool:
    wanted: Any = _parameters(request).get("binary_data_output", False)
    outputs = request.get("outputs")
    if outputs is not None:
        if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
            raise _bad("outputs is not a list of JSON objects")
        if [each.get("name") for each in outputs] not in ([], ["sr"]):
            raise _bad("the only output is sr")
        for each in outputs:
            parameters = _parameters(each)
            if "shared_memory_region" in parameters or "classification" in parameters:
                raise _bad("shared memory and classification are not supported")
            wanted = parameters.get("binary_data", wanted)
    if not isinstance(wanted, bool):
        raise _bad("binary_data is not true or false")
    return wanted


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _bad("parameters are not a JSON object")
    return parameters


def _get(entry: Mapping[str, Any], key: str, kind: type) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind):
        raise _bad(f"{key} is missing, or not {'a list' if kind is list else 'a string'}")
    return value


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
