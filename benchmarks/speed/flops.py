"""How much arithmetic a model does, and how fast this device could do it: what a share of the peak is a share of."""

from __future__ import annotations

import importlib.util
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fxsr.errors import ModelFileError
from fxsr.extras import needs
from fxsr.models.checkpoint import load_checkpoint
from fxsr.models.config import NetworkConfig, is_style, state_shapes
from fxsr.models.file import ModelFile, ModelFileKind, manifest_path
from fxsr.models.manifest import Precision, Shape, read_manifest
from fxsr.runtime.backends.onnxruntime import read_facts
from fxsr.runtime.layouts import to_graph
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.session import Device

_SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices that are multiplied."""
_TRIES = 5


def count_macs(model: ModelFile, lr: Shape, t_map: Shape) -> int:
    """Multiplications with addition of a model's convolutions; it has no others that count.

    Args:
        model: a checkpoint, whose network is counted as it is; an `.onnx` file, whose graph is; or an engine, which
            does what the ONNX file beside it says.
        lr: shape of a session's `lr`.
        t_map: shape of its `t_map`.

    Raises:
        MissingExtraError: counting in a graph needs the package onnx.
        ModelFileError: an engine's ONNX file is not beside it, or a file is damaged.
    """
    if model.kind is ModelFileKind.CHECKPOINT:
        return network_macs(load_checkpoint(model.path).config, lr, t_map)
    path = model.path
    if model.kind is ModelFileKind.ENGINE:
        path = path.with_name(read_manifest(manifest_path(path)).onnx.file)
        if not path.is_file():
            raise ModelFileError(f"{path}: not found, and an engine alone does not tell what it computes")
    with needs("export"):
        import onnx
    facts = read_facts(path)
    feed = to_graph(facts, np.zeros(lr, np.float32), np.zeros(t_map, np.float32))
    return graph_macs(onnx.load(path), {name: array.shape for name, array in feed.items()})


def network_macs(config: NetworkConfig, lr: Shape, t_map: Shape) -> int:
    """Of the plain network: each convolution's weights times the pixels that it computes."""
    image, style = (shape[0] * shape[2] * shape[3] for shape in (lr, t_map))
    total = 0
    for name, shape in state_shapes(config).items():
        if not name.endswith(".weight"):
            continue
        growth = config.scale if name.startswith(("HRconv", "conv_last")) else 1
        if step := re.match(r"upconv(\d)", name):
            growth = 2 ** int(step[1])
        total += math.prod(shape) * (style if is_style(name) else image * growth**2)
    return total


def graph_macs(model: Any, shapes: Mapping[str, Shape]) -> int:
    """Of an ONNX graph's convolutions.

    Args:
        model: an `onnx.ModelProto`; what it works out from its inputs' sizes becomes constants.
        shapes: of its inputs, by name.
    """
    known = graph_shapes(model, shapes) | {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return sum(
        math.prod(known[node.output[0]]) * math.prod(known[node.input[1]][1:])
        for node in model.graph.node
        if node.op_type == "Conv"
    )


def graph_shapes(model: Any, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Of all tensors of an ONNX graph but its weights, by name. Arguments: see `graph_macs`."""
    import onnx

    for tensor in model.graph.input:
        for dimension, size in zip(tensor.type.tensor_type.shape.dim, shapes[tensor.name], strict=True):
            dimension.dim_value = size
    for tensor in model.graph.output:
        tensor.type.tensor_type.ClearField("shape")  # names of axes would contradict the sizes
    del model.graph.value_info[:]
    while _settle_sizes(model):  # each time, more tensors' sizes can be inferred
        pass
    return _shapes(onnx.shape_inference.infer_shapes(model, strict_mode=True).graph)


def _settle_sizes(model: Any) -> bool:
    """Make constants of numbers that the graph works out from sizes: shape inference does not follow them. Were there
    any?"""
    import onnx
    from onnx.reference import ReferenceEvaluator

    before = len(model.graph.node)
    shapes = _shapes(onnx.shape_inference.infer_shapes(model).graph)
    whole = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT64]
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in whole}
    for node in list(model.graph.node):
        if node.op_type == "Shape":
            if not all(shapes.get(node.input[0], (0,))):
                continue
            found[node.output[0]] = np.array(shapes[node.input[0]], np.int64)
        elif all(name in found for name in node.input):
            given = {name: found[name] for name in node.input}
            found[node.output[0]] = np.asarray(next(iter(ReferenceEvaluator(node).run(None, given))))
        else:
            continue
        model.graph.node.remove(node)
        model.graph.initializer.append(onnx.numpy_helper.from_array(found[node.output[0]], node.output[0]))
    return len(model.graph.node) < before


def _shapes(graph: Any) -> dict[str, Shape]:
    """Of all tensors but weights, by name; 0 stands for a size that is not known."""
    return {
        tensor.name: tuple(dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim)
        for tensor in (*graph.input, *graph.value_info, *graph.output)
    }


def probe_gemm(device: Device, precision: Precision) -> float | None:
    """The most FLOP/s that a product of large square matrices reaches, of several tries.

    On a CPU in float32 with all usable cores, by numpy, by torch, or as a 1x1 convolution by torch: their three
    libraries suit different processors. Half precision is computed in float32 there. On a GPU in the model's precision
    by torch, float32 as TF32, as engines compute it.

    Args:
        device: a session's device.
        precision: of its arithmetic.

    Returns:
        None: it is a GPU and torch is not there, or can't use it.
    """
    has_torch = importlib.util.find_spec("torch") is not None
    if device.is_cpu:
        rates = [_fastest(_numpy_product(_SIDE["cpu"]), _SIDE["cpu"])]
        if has_torch:
            rates.append(_fastest(_torch_product("cpu", "fp32", _SIDE["cpu"]), _SIDE["cpu"]))
            rates.append(_fastest(_torch_convolution(_SIDE["cpu"]), _SIDE["cpu"]))
        return max(rates)
    if not has_torch:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return _fastest(_torch_product(str(device), precision, _SIDE["cuda"]), _SIDE["cuda"])


def _fastest(product: Callable[[], float], side: int) -> float:
    """FLOP/s of the fastest of several products, after one that warms up."""
    product()
    return 2 * side**3 / min(product() for _ in range(_TRIES))


def _numpy_product(side: int) -> Callable[[], float]:
    a, b = np.random.default_rng(0).random((2, side, side), np.float32)
    out = np.empty_like(a)

    def run() -> float:
        begin = time.perf_counter()
        np.matmul(a, b, out=out)
        return time.perf_counter() - begin

    return run


def _torch_product(device: str, precision: Precision, side: int) -> Callable[[], float]:
    import torch

    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    a, b = torch.rand((2, side, side), device=device, dtype=dtype)
    out = torch.empty_like(a)

    def run() -> float:
        begin = time.perf_counter()
        torch.matmul(a, b, out=out)
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    if device == "cpu":
        torch.set_num_threads(available_cpus())
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
    return run


def _torch_convolution(side: int) -> Callable[[], float]:
    """The same product, on a CPU: weights times the columns of a picture."""
    import torch

    torch.set_num_threads(available_cpus())
    picture, kernel = torch.rand((1, side, 32, side // 32)), torch.rand((side, side, 1, 1))

    def run() -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            torch.nn.functional.conv2d(picture, kernel)
        return time.perf_counter() - begin

    return run
