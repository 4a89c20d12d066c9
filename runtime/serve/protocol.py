"""The Open Inference Protocol, version 2, which Triton's clients use: models by name, tensors in and out."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import numpy as np

from fxsr.errors import ImageError, StyleError
from fxsr.models.manifest import TensorFacts
from fxsr.runtime.layouts import to_bytes
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import Flow
from fxsr.runtime.serve.service import ImageSizes, ServedModel
from fxsr.runtime.serve.tensors import DATATYPES, InferRequest
from fxsr.runtime.session import Array
from fxsr.runtime.upscale.batches import Tile, TilePosition, upscale_tiles
from fxsr.runtime.upscale.upscaling import check_finite

_MAX_NUMBERS = 1 << 20
"""Largest number of values in an output that is sent as JSON."""
_MAX_IMAGES = 1024
"""Largest number of images in a request."""
VERSION = "1"
"""The only version of every model."""
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
"""The protocol's extensions that the server has. Of the model repository, it has the index."""


def describe_model(model: ServedModel) -> dict[str, Any]:
    """A model's metadata."""
    inputs, outputs = _tensors(model)
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": f"fxsr_{model.info.backend}",
        "inputs": [_describe_tensor(tensor) for tensor in inputs],
        "outputs": [_describe_tensor(tensor) for tensor in outputs],
    }


def configure_model(model: ServedModel) -> dict[str, Any]:
    """A model's configuration, with the fields of Triton's `ModelConfig` that clients ask for.

    Images and maps of a request may differ in number, so the batch is an axis like others (`max_batch_size` 0).
    """
    inputs, outputs = (
        [
            {"name": each["name"], "data_type": f"TYPE_{each['datatype']}", "dims": each["shape"]}
            for each in map(_describe_tensor, tensors)
        ]
        for tensors in _tensors(model)
    )
    info = model.info
    parameters = {"fxsr_model": info.name, "scale": str(info.scale), "tile": str(model.tile)}
    if info.facts:
        parameters |= {"licence": info.facts.licence}
    return {
        "name": model.name,
        "platform": f"fxsr_{info.backend}",
        "backend": info.backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "instance_group": [
            {
                "name": model.name,
                "kind": "KIND_CPU" if info.device.is_cpu else "KIND_GPU",
                "count": 1,
                "gpus": [] if info.device.is_cpu else [info.device.index],
            }
        ],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def image_sizes(model: ServedModel, request: InferRequest) -> ImageSizes | None:
    """The images of a request. None: they have no size, which `infer` refuses."""
    inputs, _ = _tensors(model)
    lr, t_map = request.inputs.get(inputs[0].name), request.inputs.get("t_map")
    if lr is None or lr.ndim != len(inputs[0].layout):
        return None
    count, height, width = (lr.shape[inputs[0].layout.index(axis)] for axis in "NHW")
    packed = model.info.facts is not None and model.info.facts.packed
    uniform = not packed and (t_map is None or t_map.shape[-2:] == (1, 1))
    return ImageSizes(width, height, uniform, count)


def infer(model: ServedModel, flow: Flow, request: InferRequest, max_pixels: int) -> Array:
    """`sr` for a request's inputs, in the model's own layout and type. Images larger than a tile are cut into tiles.

    Raises:
        ProblemError: the inputs don't fit the model, or are too large.
        FxsrError: upscaling failed.
    """
    inputs, (output,) = _tensors(model)
    for tensor in inputs:
        _check(request.inputs.get(tensor.name), tensor)
    if unknown := request.inputs.keys() - {tensor.name for tensor in inputs}:
        raise _bad(f"this model has no input {min(unknown)[:40]}")
    planes, style = _planes(model, request.inputs)
    count, _, height, width = planes.shape
    numbers = 3 * count * height * width * model.info.scale**2
    if not request.binary and numbers > _MAX_NUMBERS:
        detail = f"{numbers} numbers are more than the {_MAX_NUMBERS} that can be sent as JSON: ask for binary data"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if count > _MAX_IMAGES:
        detail = f"{count} images are more than the {_MAX_IMAGES} that a request may hold"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if count * height * width > max_pixels:
        detail = f"{count}x{height}x{width} pixels are more than the {max_pixels} that a request may hold"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if style.shape[0] not in (1, count) or style.shape[2:] not in ((1, 1), (height, width)):
        raise _bad(f"t_map has the shape {list(style.shape)}; its sizes must be 1, or those of lr")
    try:
        sr = _upscale(model, flow, planes, np.broadcast_to(style, (count, *style.shape[1:])))
    except (ImageError, StyleError) as error:
        raise _bad(str(error)) from error
    if output.dtype == "uint8":
        return np.ascontiguousarray(to_bytes(sr).transpose(0, 2, 3, 1))
    return sr.astype(output.dtype, copy=False)


def _upscale(model: ServedModel, flow: Flow, planes: Array, style: Array) -> Array:
    """(N, 3, H, W) and (N, 1, H or 1, W or 1) to (N, 3, scale*H, scale*W)."""
    if not np.isfinite(planes).all():
        raise ImageError("the image holds NaN or infinity")
    if not ((style >= 0) & (style <= 1)).all():
        raise StyleError("style values must lie in 0..1")
    if model.tile == 0 or max(planes.shape[2:]) <= model.tile:
        tiles = [Tile(TilePosition(0, 0, index), *pair) for index, pair in enumerate(zip(planes, style, strict=True))]
        sr = np.stack([sr for _, sr in upscale_tiles(flow, tiles, lambda text: None)])
        check_finite(sr, model.info)
        return sr
    upscaler = model.upscaler(flow)
    images = [upscaler(lr.transpose(1, 2, 0), t_map[0]) for lr, t_map in zip(planes, style, strict=True)]
    return np.stack(images).transpose(0, 3, 1, 2)


def _tensors(model: ServedModel) -> tuple[tuple[TensorFacts, ...], tuple[TensorFacts, ...]]:
    """Inputs and outputs of the graph that is served."""
    if facts := model.info.facts:
        return facts.inputs, facts.outputs
    dtype, scale = model.info.dtype.name, model.info.scale
    lr = TensorFacts("lr", dtype, "NCHW", ("n", 3, "h", "w"))
    t_map = TensorFacts("t_map", dtype, "NCHW", ("n_t", 1, "h_t", "w_t"))
    return (lr, t_map), (TensorFacts("sr", dtype, "NCHW", ("n", 3, f"{scale}*h", f"{scale}*w")),)


def _describe_tensor(tensor: TensorFacts) -> dict[str, Any]:
    """A tensor in the protocol's words. Batch and size are free, whatever an engine was built for: tiles are padded."""
    shape = [size if axis == "C" else -1 for axis, size in zip(tensor.layout, tensor.shape, strict=True)]
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": shape}


def _check(array: Array | None, tensor: TensorFacts) -> None:
    if array is None:
        raise _bad(f"the input {tensor.name} is missing")
    described = _describe_tensor(tensor)
    if array.dtype != tensor.dtype:
        raise _bad(f"{tensor.name} is of {DATATYPES[array.dtype.name]}; it must be of {described['datatype']}")
    channels = tensor.layout.index("C")
    if array.ndim != len(tensor.layout) or array.shape[channels] != tensor.shape[channels]:
        raise _bad(f"{tensor.name} has the shape {list(array.shape)}; it must be {described['shape']}")


def _planes(model: ServedModel, inputs: Mapping[str, Array]) -> tuple[Array, Array]:
    """`lr` as (N, 3, H, W), and `t_map`, as floats in 0..1."""
    packed = model.info.facts is not None and model.info.facts.packed
    planes = inputs["lr_t" if packed else "lr"]
    if planes.dtype == np.uint8:
        planes = planes.transpose(0, 3, 1, 2) / np.float32(255)
    if packed:
        return planes[:, :3], planes[:, 3:]
    style = inputs.get("t_map", np.zeros((1, 1, 1, 1), np.float32))
    return planes, style / np.float32(255) if style.dtype == np.uint8 else style


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
