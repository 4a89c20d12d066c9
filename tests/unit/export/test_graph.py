from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from fxsr.benchmarks.speed.flops import graph_shapes
from fxsr.errors import UsageError
from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions, layer_names
from fxsr.models.checkpoint import Checkpoint
from fxsr.models.config import NetworkConfig
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.providers import import_onnxruntime
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CPU
from tests.support import CASES, STYLES, TINY, TINY_RB, golden_checkpoint, golden_vectors, relative

EXACT = 1e-5
"""DESIGN: every rewrite agrees with the plain network to this, relative, in float32."""
HALF = 2e-3
"""Rounding of half precision over some twenty layers of random weights; comes to about 5e-4."""

PLAIN = GraphOptions(fold_styles=False, phase_upsampling=False, strips=False)


def run(checkpoint: Checkpoint, options: GraphOptions, lr: NDArray[Any], t_map: Any, folder: Path) -> NDArray[Any]:
    path = folder / "graph.onnx"
    write_onnx(checkpoint, options, path)
    with OrtSession(path, CPU) as session:
        dtype = session.info.dtype
        return session.run(lr.astype(dtype), np.asarray(t_map).astype(dtype)).astype(np.float32)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        (GraphOptions(), 1e-4),
        (PLAIN, 1e-4),
        (GraphOptions().for_engine(), 1e-4),
        (GraphOptions(precision="fp16"), HALF),
        (GraphOptions(compact=True), HALF),
    ],
    ids=["rewritten", "plain", "engine", "fp16", "compact"],
)
def test_agrees_with_the_authors_network(case: str, options: GraphOptions, tolerance: float, tmp_path: Path) -> None:
    golden = golden_vectors(case)
    checkpoint = golden_checkpoint(CASES[case], int(golden["seed"]))
    uniform = {name: np.full((1, 1, 1, 1), t) for name, t in STYLES.items()}
    for name, t_map in (uniform | {"sr_map": golden["t_map"]}).items():
        sr = run(checkpoint, options, golden["lr"], t_map, tmp_path)
        assert relative(sr, golden[name]) < tolerance, name


@pytest.mark.parametrize("config", [TINY, TINY_RB], ids=["rrdb", "rb"])
@pytest.mark.parametrize("options", [GraphOptions(), PLAIN], ids=["rewritten", "plain"])
@pytest.mark.parametrize("style", [(1, 1), (7, 5)], ids=["uniform", "varying"])
def test_agrees_with_the_torch_network(
    config: NetworkConfig, options: GraphOptions, style: tuple[int, int], tmp_path: Path
) -> None:
    checkpoint = golden_checkpoint(config, 5)
    rng = np.random.default_rng(1)
    lr, t_map = rng.random((1, 3, 7, 5), np.float32), rng.random((1, 1, *style), np.float32)
    with TorchSession(checkpoint, CPU) as session:
        expected = session.run(lr, t_map)
    assert relative(run(checkpoint, options, lr, t_map, tmp_path), expected) < EXACT


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 5), (23, 4)])
@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, fold_styles=True, blocked=False),
        replace(PLAIN, fold_styles=True),
        replace(PLAIN, phase_upsampling=True),
        replace(PLAIN, phase_upsampling=True, depth_to_space=True),
        replace(PLAIN, strips=True),
        GraphOptions(),
        GraphOptions().for_engine(),
    ],
    ids=["fold", "blocked", "phase", "depth", "strips", "all", "engine"],
)
def test_rewrites_are_exact(scale: int, size: tuple[int, int], options: GraphOptions, tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(replace(TINY, scale=scale), 11)
    rng = np.random.default_rng(1)
    lr, t_map = rng.random((2, 3, *size)), rng.random((2, 1, *size))
    plain = run(checkpoint, PLAIN, lr, t_map, tmp_path)
    assert relative(run(checkpoint, options, lr, t_map, tmp_path), plain) < EXACT


def test_one_file_takes_any_batch_size_and_style_shape(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    write_onnx(checkpoint, GraphOptions(), tmp_path / "g.onnx")
    lr = np.random.default_rng(0).random((3, 3, 6, 8), np.float32)
    full = np.full((3, 1, 6, 8), 0.4, np.float32)
    with OrtSession(tmp_path / "g.onnx", CPU) as session:
        reference = session.run(lr, full)
        for shape in [(1, 1, 1, 1), (3, 1, 1, 1), (1, 1, 6, 8), (1, 1, 6, 1), (3, 1, 1, 8)]:
            sr = session.run(lr, np.full(shape, 0.4, np.float32))
            assert relative(sr, reference) < EXACT, shape


def test_style_differs_per_image_of_a_batch(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    lr = np.random.default_rng(0).random((1, 3, 6, 8))
    t_maps = np.array([0.1, 0.9]).reshape(2, 1, 1, 1)
    both = run(checkpoint, GraphOptions(), np.repeat(lr, 2, 0), t_maps, tmp_path)
    for image, t in zip(both, t_maps, strict=True):
        assert relative(image, run(checkpoint, GraphOptions(), lr, t[None], tmp_path)[0]) < EXACT
    assert relative(both[0], both[1]) > 1e-3


def test_fp16_graph_is_half_throughout(tmp_path: Path) -> None:
    write_onnx(golden_checkpoint(TINY, 2), GraphOptions(precision="fp16"), tmp_path / "g.onnx")
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "g.onnx"), strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    sizes = onnx.TensorProto.INT64  # where to split
    assert {value.type.tensor_type.elem_type for value in values} - {sizes} == {onnx.TensorProto.FLOAT16}
    assert {weight.data_type for weight in graph.initializer} - {sizes} == {onnx.TensorProto.FLOAT16}
    assert "Cast" not in {node.op_type for node in graph.node}


def test_rewritten_graph_has_no_resize_and_no_condition_convolution(tmp_path: Path) -> None:
    write_onnx(golden_checkpoint(TINY, 2), GraphOptions(), tmp_path / "g.onnx")
    graph = onnx.load(tmp_path / "g.onnx").graph
    assert "Resize" not in {node.op_type for node in graph.node}
    assert not any("CondNet.2" in weight.name for weight in graph.initializer)


@pytest.mark.parametrize("phase_upsampling", [False, True], ids=["enlarged", "phases"])
def test_strips_change_no_bit(phase_upsampling: bool, tmp_path: Path) -> None:
    """Also where the seams lie: a strip's halo covers all that padding spoils."""
    checkpoint = golden_checkpoint(TINY, 11)
    rng = np.random.default_rng(1)
    lr, t_map = rng.random((1, 3, 29, 6)), rng.random((1, 1, 29, 6))
    whole, strips = (
        run(checkpoint, GraphOptions(phase_upsampling=phase_upsampling, strips=each), lr, t_map, tmp_path)
        for each in (False, True)
    )
    np.testing.assert_array_equal(strips, whole)


def test_strips_hold_a_quarter_and_share_weights(tmp_path: Path) -> None:
    largest, weights = [], []
    for strips in (False, True):
        write_onnx(golden_checkpoint(TINY, 2), GraphOptions(strips=strips), tmp_path / "g.onnx")
        model = onnx.load(tmp_path / "g.onnx")
        tensors = graph_shapes(ir.from_proto(model), {"lr": (1, 3, 64, 64), "t_map": (1, 1, 1, 1)})
        largest.append(max(np.prod(shape) for name, shape in tensors.items() if name != "sr"))
        weights.append(sum(np.prod(tensor.dims) for tensor in model.graph.initializer if len(tensor.dims) == 4))
    assert largest[1] < 0.3 * largest[0]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("options", [GraphOptions(), GraphOptions(blocked=False)], ids=["blocked", "small"])
@pytest.mark.parametrize("config", [replace(TINY, nb=2), TINY_RB], ids=["rrdb", "rb"])
def test_styles_are_computed_where_they_are_used(config: NetworkConfig, options: GraphOptions, tmp_path: Path) -> None:
    """ONNX Runtime takes the operand that stands last first: styles must stand before every trunk layer."""
    write_onnx(golden_checkpoint(config, 2), options, tmp_path / "g.onnx")
    names = [node.name for node in onnx.load(tmp_path / "g.onnx").graph.node]
    styles = [index for index, name in enumerate(names) if name.endswith((".curve", ".style"))]
    assert len(styles) > 5
    assert max(styles) < min(index for index, name in enumerate(names) if name.endswith(".mul"))


@pytest.mark.parametrize("baked_t", [None, 0.5])
@pytest.mark.parametrize("config", [NetworkConfig(nf=32, gc=16, nb=2, nc=8), replace(TINY_RB, nf=32, nc=8)])
def test_onnxruntime_stays_in_its_blocked_layout(config: NetworkConfig, baked_t: float | None, tmp_path: Path) -> None:
    """From the first convolution to the end's strips. Otherwise it reorders before and behind every style layer."""
    onnxruntime = import_onnxruntime()
    reorders = {}
    for blocked in (True, False):
        write_onnx(golden_checkpoint(config, 2), GraphOptions(blocked=blocked, baked_t=baked_t), tmp_path / "g.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it warns that such a file is for this machine only
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(tmp_path / "g.onnx", options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
        if not any(node.op_type == "Conv" and node.domain.endswith(".nchwc") for node in nodes):
            pytest.skip("this processor has no blocked layout in ONNX Runtime")
        reorders[blocked] = [node.input[0] for node in nodes if node.op_type == "ReorderInput"]
    ends = 4 * 2 + 1  # a strip's doubling and what follows, and the doubling before
    assert len(reorders[True]) <= ends < len(reorders[False])


@pytest.mark.parametrize("options", [GraphOptions(), GraphOptions(io="uint8"), GraphOptions(packed=True)])
def test_a_map_of_one_style_gives_the_bits_of_that_style(options: GraphOptions, tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    write_onnx(checkpoint, options, tmp_path / "g.onnx")
    lr = np.random.default_rng(0).random((2, 3, 6, 8), np.float32)
    with OrtSession(tmp_path / "g.onnx", CPU) as session:
        one, full = (session.run(lr, np.full(shape, 0.4, np.float32)) for shape in [(1, 1, 1, 1), (2, 1, 6, 8)])
    np.testing.assert_array_equal(one, full)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(replace(TINY_RB, scale=2), 2)
    write_onnx(checkpoint, replace(PLAIN, precision="fp16"), tmp_path / "g.onnx")
    with OrtSession(tmp_path / "g.onnx", CPU) as session:
        facts = session.info.facts
    assert facts is not None
    assert (facts.name, facts.scale, facts.precision, facts.dtype) == ("golden", 2, "fp16", "float16")
    assert facts.config == replace(TINY_RB, scale=2)
    assert facts.rewrites == ()
    assert [each.name for each in (*facts.inputs, *facts.outputs)] == ["lr", "t_map", "sr"]


def test_a_graph_of_integers_is_the_graph_of_floats_rounded(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    rng = np.random.default_rng(0)
    lr, t_map = (rng.integers(0, 256, shape).astype(np.float32) / 255 for shape in [(2, 3, 6, 8), (1, 1, 6, 8)])
    floats = run(checkpoint, GraphOptions(), lr, t_map, tmp_path)
    integers = run(checkpoint, GraphOptions(io="uint8"), lr, t_map, tmp_path)
    assert np.abs(integers - np.clip(floats, 0, 1)).max() <= 0.5001 / 255
    graph = onnx.load(tmp_path / "graph.onnx").graph
    assert {value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]} == {onnx.TensorProto.UINT8}
    assert [dim.dim_param or dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim] == [
        *("n", "4*h", "4*w", 3)
    ]


@pytest.mark.parametrize("io", ["float", "uint8"])
def test_a_packed_graph_takes_the_style_as_fourth_channel(io: Any, tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    rng = np.random.default_rng(0)
    lr, t_map = rng.random((2, 3, 6, 8), np.float32), rng.random((2, 1, 6, 8), np.float32)
    apart = run(checkpoint, GraphOptions(io=io), lr, t_map, tmp_path)
    assert relative(run(checkpoint, GraphOptions(io=io, packed=True), lr, t_map, tmp_path), apart) < EXACT
    assert [each.name for each in onnx.load(tmp_path / "graph.onnx").graph.input] == ["lr_t"]


@pytest.mark.parametrize(
    "options",
    [GraphOptions(io="uint8"), GraphOptions(io="uint8", packed=True), GraphOptions(packed=True)],
    ids=["bytes", "packed bytes", "packed"],
)
def test_layers_kept_in_float32_see_inputs_that_were_not_rounded(options: GraphOptions, tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    rng = np.random.default_rng(0)
    lr, t_map = (rng.integers(0, 256, shape).astype(np.float32) / 255 for shape in [(2, 3, 6, 8), (2, 1, 6, 8)])
    exact = run(checkpoint, options, lr, t_map, tmp_path)
    kept = replace(options, precision="bf16", kept_float32=tuple(layer_names(TINY)), emulate=True)
    assert relative(run(checkpoint, kept, lr, t_map, tmp_path), exact) < EXACT


def test_layers_kept_in_float32_are_so_and_the_rest_is_not(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    names = layer_names(TINY)
    write_onnx(checkpoint, GraphOptions("fp16", kept_float32=("HRconv",)), tmp_path / "g.onnx")
    graph = onnx.load(tmp_path / "g.onnx").graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    assert types["HRconv.weight"] == onnx.TensorProto.FLOAT
    assert types["conv_last.weight"] == types["trunk_conv.weight"] == onnx.TensorProto.FLOAT16
    lr, t_map = np.random.default_rng(0).random((1, 3, 6, 8)), np.full((1, 1, 1, 1), 0.5)
    all_kept = run(checkpoint, GraphOptions("fp16", kept_float32=tuple(names)), lr, t_map, tmp_path)
    exact = run(checkpoint, GraphOptions(), lr.astype(np.float16), t_map, tmp_path)
    assert relative(all_kept, exact) < 1e-3  # rounded on the way out


def test_emulated_halves_are_as_coarse_as_halves(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    lr, t_map = np.random.default_rng(0).random((1, 3, 6, 8)), np.full((1, 1, 1, 1), 0.5)
    exact = run(checkpoint, GraphOptions(), lr, t_map, tmp_path)
    half = run(checkpoint, GraphOptions("fp16"), lr, t_map, tmp_path)
    emulated = run(checkpoint, GraphOptions("fp16", emulate=True), lr, t_map, tmp_path)
    # ONNX Runtime's CPU computes runs of halves in float32 and rounds less often
    assert 1e-4 < relative(half, exact) <= relative(emulated, exact) < 2 * relative(half, exact)


def test_bfloat16_is_coarser_than_half(tmp_path: Path) -> None:
    checkpoint = golden_checkpoint(TINY, 2)
    lr, t_map = np.random.default_rng(0).random((1, 3, 6, 8)), np.full((1, 1, 1, 1), 0.5)
    exact = run(checkpoint, GraphOptions(), lr, t_map, tmp_path)
    half = run(checkpoint, GraphOptions("fp16"), lr, t_map, tmp_path)
    brain = run(checkpoint, GraphOptions("bf16", emulate=True), lr, t_map, tmp_path)
    assert 4 < relative(brain, exact) / relative(half, exact) < 16  # three bits fewer
    write_onnx(checkpoint, GraphOptions("bf16"), tmp_path / "g.onnx")
    graph = onnx.load(tmp_path / "g.onnx").graph
    assert {value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]} == {onnx.TensorProto.FLOAT}
    types = {weight.data_type for weight in graph.initializer if weight.data_type != onnx.TensorProto.INT64}
    assert types == {onnx.TensorProto.BFLOAT16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packed": True, "baked_t": 0.5}, "exclude each other"),
        ({"baked_t": 1.5}, "must be 0 to 1"),
        ({"precision": "fp16", "compact": True}, "--compact is for --fp32"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GraphOptions(**options)
