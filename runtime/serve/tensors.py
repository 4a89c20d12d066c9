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

import msgspec
import numpy as np

from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.session import Array

DATATYPES = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}
"""The protocol's names for numpy types."""
_DTYPES = {name: np.dtype(dtype) for dtype, name in DATATYPES.items()}

_MAX_JSON = 16 << 20
"""Largest size of the JSON, in bytes; parsed, it takes up to nine times as much memory."""
_MAX_AXES = 8
_OF_NUMBERS = b"0123456789+-.eE"
_SPACE = b" \t\r\n"
_ABSENT = msgspec.Raw()


class _Parameters(msgspec.Struct, frozen=True):
    """What this server knows of the protocol's parameters. Everything else in a request is skipped, not stored."""

    binary_data_size: int | None = None
    binary_data_output: bool | None = None
    binary_data: bool | None = None
    shared_memory_region: msgspec.Raw = _ABSENT
    classification: msgspec.Raw = _ABSENT


class _Input(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = _ABSENT
    """JSON text, which is parsed when it is known to hold numbers only: other lists take sixty times their text."""
    parameters: _Parameters = _Parameters()


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: _Parameters = _Parameters()


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Output] = []
    parameters: _Parameters = _Parameters()


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
        request = msgspec.json.decode(body[:end], type=_Request)
    except msgspec.ValidationError as error:
        raise _bad(f"the request is not one of the protocol: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _bad("the request is not JSON") from error
    inputs: dict[str, Array] = {}
    rest = memoryview(body)[end:]
    for each in request.inputs:
        if each.name in inputs:
            raise _bad(f"the input {each.name[:40]} is given twice")
        inputs[each.name], rest = _decode(each, rest)
    if rest:
        raise _bad(f"{len(rest)} bytes at the end belong to no input")
    return InferRequest(request.id, inputs, _wants_binary(request))


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


def _decode(sent: _Input, rest: memoryview) -> tuple[Array, memoryview]:
    """An input, and the bytes that remain for the next inputs."""
    name, shape = sent.name[:40], sent.shape
    if sent.datatype not in _DTYPES:
        raise _bad(f"{name} is of {sent.datatype[:20]}; it must be one of {', '.join(_DTYPES)}")
    if not all(0 < size < 2**31 for size in shape) or not 0 < len(shape) <= _MAX_AXES:
        raise _bad(f"the shape of {name} is not a list of sizes")
    dtype, count = _DTYPES[sent.datatype], math.prod(shape)
    if sent.parameters.shared_memory_region != _ABSENT:
        raise _bad("shared memory is not supported; send the data itself")
    size = sent.parameters.binary_data_size
    if size is None:
        if bytes(sent.data) in (b"", b"null"):
            raise _bad(f"{name} has no data and no binary_data_size")
        return _from_json(name, bytes(sent.data), dtype, shape), rest
    if size != count * dtype.itemsize:
        raise _bad(f"binary_data_size of {name} must be {count * dtype.itemsize}, for its shape and type")
    if size > len(rest):
        raise _bad(f"the body ends before {name} does")
    return np.frombuffer(rest[:size], dtype).reshape(shape), rest[size:]


def _from_json(name: str, text: bytes, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
    """An array from JSON text: its numbers in a list, or in nested lists as its shape has them."""
    if dtype == np.float16:
        raise _bad("JSON can't hold FP16: send binary data")
    refusal = _bad(f"the data of {name} are not numbers of its type, or its rows differ in length")
    text = text.translate(None, _SPACE)
    lists = text.translate(None, _OF_NUMBERS)
    if lists.translate(None, b"[],") or b"[]" in text:
        raise refusal
    count, found = math.prod(shape), lists.count(b",") + 1
    if found != count:
        raise _bad(f"{name} has {found} numbers; its shape has {count}")
    begun = lists.count(b"[")
    if begun > 1 and begun != sum(math.prod(shape[:axis]) for axis in range(len(shape))):
        raise refusal
    if lists != _lists(shape if begun > 1 else [count]):
        raise refusal
    values = np.fromstring(text.translate(None, b"[]").decode(), sep=",")  # JSON, so nothing but numbers is left
    if dtype.kind == "u" and (set(b".eE") & set(text) or values.min() < 0 or values.max() > 255):
        raise refusal
    with np.errstate(over="ignore"):
        return values.astype(dtype).reshape(shape)


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


def _lists(shape: Sequence[int]) -> bytes:
    """JSON text of nested lists of this shape, without the numbers."""
    text = b"[%s]" % (b"," * (shape[-1] - 1))
    for size in reversed(shape[:-1]):
        text = b"[%s]" % ((text + b",") * (size - 1) + text)
    return text


def _wants_binary(request: _Request) -> bool:
    if [each.name for each in request.outputs] not in ([], ["sr"]):
        raise _bad("the only output is sr")
    wanted = request.parameters.binary_data_output
    for each in request.outputs:
        if each.parameters.shared_memory_region != _ABSENT or each.parameters.classification != _ABSENT:
            raise _bad("shared memory and classification are not supported")
        wanted = wanted if each.parameters.binary_data is None else each.parameters.binary_data
    return bool(wanted)


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
