"""OpenAPI schemas of bodies that FastAPI can't derive from types."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fxsr.extras import needs
from fxsr.runtime.serve.background import JobState
from fxsr.runtime.serve.images import MEDIA_TYPES
from fxsr.runtime.serve.problems import MEDIA_TYPE

with needs("serve"):
    from fastapi import Security
    from fastapi.params import Depends
    from fastapi.security import HTTPBearer

Responses = dict[int | str, dict[str, Any]]


_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong and what to do about it."},
        "error": {"type": "string", "description": "Same as `detail`."},
    },
}


def problems(*statuses: int) -> Responses:
    """OpenAPI responses for errors with these statuses."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
        for status in statuses
    }


def bearer_token() -> Sequence[Depends]:
    """What routes depend on that need a token: the page about them then has a button for giving it."""
    scheme = HTTPBearer(
        auto_error=False, scheme_name="token", description="The token that the server was started with."
    )
    return [Security(scheme)]


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BUSY = (401, 403, 408, 413, 421, 422, 429, 503)

IMAGES: Responses = {
    200: {"description": "The image file.", "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)},
    **problems(400, *_BUSY),
}
_JOB = {
    "type": "object",
    "required": ["id", "state", "progress"],
    "properties": {
        "id": {"type": "string"},
        "state": {"type": "string", "enum": [state.value for state in JobState]},
        "progress": {"type": "number", "minimum": 0, "maximum": 1, "description": "Part of its tiles that is done."},
        "place": {"type": "integer", "minimum": 0, "description": "Number of jobs before it."},
        "seconds_left": {
            "type": ["number", "null"],
            "description": "Forecast from the speed of earlier requests; null if there were none.",
        },
        "expires_in": {"type": "integer", "description": "Seconds after which it is forgotten."},
        "result": {"type": "string", "description": "Path of the image file."},
        "problem": _PROBLEM,
    },
}
JOB: Responses = {200: {"description": "The job.", "content": {"application/json": {"schema": _JOB}}}}
IMAGES[202] = {"description": "A job was begun; Location is its address.", **JOB[200]}
JOB_RESULT: Responses = {
    200: {"description": "The image file.", "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)},
    **problems(401, 403, 404, 409, 413, 421, 422, 500, 503),
}
METRICS: Responses = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    **problems(401, 403, 421),
}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": ["FP32", "FP16", "UINT8"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 4, "maxItems": 4},
        "data": {"type": "array", "description": "Numbers, flat or nested. Not for FP16: send binary data."},
        "parameters": {
            "type": "object",
            "description": "binary_data_size: the number of the tensor's bytes, which follow the JSON.",
        },
    },
}
TENSORS: Responses = {
    200: {
        "description": "The model's output.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model_name", "model_version", "outputs"],
                    "properties": {
                        "model_name": {"type": "string"},
                        "model_version": {"type": "string"},
                        "id": {"type": "string"},
                        "outputs": {"type": "array", "items": _TENSOR},
                    },
                }
            },
            "application/octet-stream": _BINARY,
        },
    },
    **problems(400, 404, *_BUSY),
}
INFER: dict[str, Any] = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "description": "Length of the JSON in bytes, if tensors follow as bytes.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {"type": "array", "items": _TENSOR},
                        "outputs": {"type": "array", "items": {"type": "object"}},
                        "parameters": {"type": "object"},
                    },
                }
            },
            "application/octet-stream": _BINARY,
        },
    },
}
