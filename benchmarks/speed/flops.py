"""Counts a model's arithmetic, and measures the peak speed of a device to compare it with."""

from __future__ import annotations

import importlib.util
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fxsr.errors import ModelFileError
from fxsr.extras import LazyModule, needs
from fxsr.models.checkpoint import load_checkpoint
from fxsr.models.config import NetworkConfig, is_style, state_shapes
from fxsr.models.file import ModelFile, ModelFileKind, manifest_path
from fxsr.models.manifest import Precision, Shape, read_manifest
from fxsr.runtime.backends.onnxruntime import read_facts
from fxsr.runtime.layouts import to_graph
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.session import Device

if TYPE_CHECKING:
    import onnx_ir as ir
else:
    ir = LazyModule("onnx_ir", extra="export")

_SIDE = {"cpu": 2048, "cuda": 8192}
"""Rows of the square matrices that are multiplied."""
_TRIES = 5


def count_macs(model: ModelFile, lr: Shape, t_map: Shape) -> int:
    """Multiply-accumulate operations (MACs) in a model's convolutions. Its other arithmetic is negligible.

    Args:
        model: a checkpoint, whose network is counted; an `.onnx` file, whose graph is counted; or an engine, for which
            the ONNX file next to it is counted.
        lr: shape of a session's `lr`.
        t_map: shape of a session's `t_map`.

    Raises:
        MissingExtraError: counting in a graph needs packages of the extra "export".
        ModelFileError: an engine's ONNX file is missing, or a file is damaged.
    """
    if model.kind is ModelFileKind.CHECKPOINT:
        return network_macs(load_checkpoint(model.path).config, lr, t_map)
    path = model.path
    if model.kind is ModelFileKind.ENGINE:
        path = path.with_name(read_manifest(manifest_path(path)).onnx.file)
        if not path.is_file():
            raise ModelFileError(f"{path}: not found, and an engine alone does not on_step what it computes")
    facts = read_facts(path)
    feed = to_graph(facts, np.zeros(lr, np.float32), np.zeros(t_map, np.float32))
    return graph_macs(ir.load(path), {name: array.shape for name, array in feed.items()})


def network_macs(config: NetworkConfig, lr: Shape, t_map: Shape) -> int:
    """MACs of the plain network: for each convolution, its weights times the pixels that it computes.

    Args:
        config: the network.
        lr: shape of `lr`.
        t_map: shape of `t_map`.
    """
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


def graph_macs(model: ir.Model, shapes: Mapping[str, Shape]) -> int:
    """Multiply-accumulate operations in an ONNX graph's convolutions.

    Args:
        model: the graph. Its shapes are written into it, and values that it derives from them become constants.
        shapes: shapes of its inputs, by name.

    Raises:
        ModelFileError: the size of a convolution's output can't be inferred.
    """
    sizes = graph_shapes(model, shapes)
    total = 0
    for node in model.graph:
        if node.op_type != "Conv":
            continue
        name, kernel = str(node.outputs[0].name), node.inputs[1]
        if name not in sizes or kernel is None or kernel.shape is None:
            raise ModelFileError(f"the size of {name} can't be inferred")
        total += math.prod(sizes[name]) * math.prod(kernel.shape.numpy()[1:])
    return total


def graph_shapes(model: ir.Model, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of an ONNX graph's inputs and computed tensors, by name. Arguments are as for `graph_macs`."""
    with needs("export"):
        from onnxscript.optimizer import fold_constants_ir
    for value in model.graph.inputs:
        value.shape = ir.Shape(shapes[str(value.name)])
    for value in (output for node in model.graph for output in node.outputs):
        value.shape = None  # names of axes would contradict the sizes
    # Only folding: the optimizer's other passes merge equal convolutions, which would change the count.
    fold_constants_ir(model, onnx_shape_inference=True)
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    return {
        str(value.name): tuple(value.shape.numpy())
        for value in values
        if value.shape is not None and value.shape.is_static()
    }


def probe_gemm(device: Device, precision: Precision) -> float | None:
    """Peak speed of a device: the most FLOP/s that a product of large square matrices reaches in several tries.

    On a CPU the product is computed in float32 on all usable cores: by numpy, by torch, and as a 1x1 convolution by
    torch, since these three suit different processors. On a GPU torch computes it in the model's precision, with TF32
    for float32, as engines do.

    Args:
        device: a session's device.
        precision: the precision of its arithmetic.

    Returns:
        FLOP/s; None on a GPU that torch can't use.
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
    """FLOP/s of the fastest of several products, after one for warming up."""
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
    """The same product, computed as a 1x1 convolution on a CPU."""
    import torch

    torch.set_num_threads(available_cpus())
    picture, kernel = torch.rand((1, side, 32, side // 32)), torch.rand((side, side, 1, 1))

    def run() -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            torch.nn.functional.conv2d(picture, kernel)
        return time.perf_counter() - begin

    return run
