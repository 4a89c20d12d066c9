"""Writes the generator as an ONNX graph, directly from a checkpoint's weights.

Tracing the torch module takes minutes at the published size, and rewrites would need pattern matching. Writing the
graph takes a second and is explicit. `fxsr.models.network` is the reference that tests and every export compare the
graph with.

Graph contract: `lr` (n, 3, h, w) and `t_map` (n_t, 1, h_t, w_t) in, `sr` (n, 3, scale*h, scale*w) out, all of one type.
Each of n_t, h_t, w_t is 1 or equals n, h, w. The graph's `ModelFacts` describe how `GraphOptions` change this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import fxsr
from fxsr.errors import UsageError
from fxsr.export.graph.bake import bake
from fxsr.export.graph.rewrites import Array, phase_kernels
from fxsr.export.graph.strips import in_strips
from fxsr.export.graph.styles import StyleLayers
from fxsr.export.graph.writer import GraphWriter
from fxsr.extras import LazyModule
from fxsr.models.checkpoint import Checkpoint
from fxsr.models.config import RESIDUAL_SCALE, SLOPE, NetworkConfig
from fxsr.models.manifest import METADATA_KEY, Io, ModelFacts, Precision, TensorFacts, encode_facts

if TYPE_CHECKING:
    import onnx_ir as ir
else:
    ir = LazyModule("onnx_ir", extra="export")

OPSET = 17
"""TensorRT 10, TensorRT-RTX and ONNX Runtimes of the last five years support it; the graph needs nothing newer."""
_BRAIN_OPSET = 22
"""The first opset with convolutions in bfloat16."""
_FOLDED, _BLOCKED = "folded-styles", "blocked-layout"
_PHASES, _DEPTH, _STRIPS = "phase-upsampling", "depth-to-space", "strips"
_IR_VERSIONS = {OPSET: 8, _BRAIN_OPSET: 10}


@dataclass(frozen=True)
class GraphOptions:
    """How to write the graph. The rewrites are exact; they can be switched off for debugging.

    Raises:
        UsageError: a value is out of range, or two options exclude each other.
    """

    precision: Precision = "fp32"
    """Type of weights, arithmetic, inputs and output. With bf16, which numpy lacks, inputs and output are float32. The
    graph is strongly typed: nothing else decides the precision."""
    fold_styles: bool = True
    """Fold the condition branch and the style layers' hidden channels into piecewise linear functions of t."""
    blocked: bool = True
    """Let ONNX Runtime's CPU provider stay in its blocked memory layout. Only in float32 with folded or fixed
    styles."""
    phase_upsampling: bool = True
    """Replace 2x upsampling and a 3x3 convolution by four 2x2 convolutions on the small grid."""
    depth_to_space: bool = False
    """Interleave the phases with the DepthToSpace operator instead of copies. ONNX Runtime is faster with copies."""
    strips: bool = True
    """Compute the last upsampling and the layers after it in strips, which saves memory."""
    compact: bool = False
    """Compute in float32 but store weights in half precision: half the file size, about 60 dB PSNR of agreement."""
    io: Io = "float"
    """"uint8": `lr` and `sr` are (n, h, w, 3) in 0..255, `t_map` is in 0..255; the graph scales, clamps and rounds."""
    packed: bool = False
    """Use one input of four channels, RGB and t, for runtimes that support a single input only."""
    baked_t: float | None = None
    """The fixed style; the graph then has no `t_map` and no style layers. None: it takes any style."""
    kept_float32: tuple[str, ...] = ()
    """Layers (see `layer_names`) that compute in float32 whatever the precision."""
    emulate: bool = False
    """Compute in float32 and round every result to `precision`, for runtimes without that type."""

    def __post_init__(self) -> None:
        if self.packed and self.baked_t is not None:
            raise UsageError(
                "--packed and --bake-t exclude each other: with t fixed, the image is the only input anyway"
            )
        if self.baked_t is not None and not 0 <= self.baked_t <= 1:
            raise UsageError(f"--bake-t {self.baked_t:g}: it must be 0 to 1")
        if self.baked_t == 0:
            object.__setattr__(self, "baked_t", 0.0)  # not -0, which would appear in names
        if self.compact and self.precision != "fp32":
            raise UsageError("--compact is for --fp32; --fp16 and --bf16 already store 16-bit weights")

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Names of the rewrites, as `ModelFacts.rewrites` lists them."""
        normalised = self.normalised()
        names = {
            _FOLDED if self.baked_t is None else "baked-style": normalised.fold_styles,
            _BLOCKED: normalised.blocked,
            _PHASES: self.phase_upsampling,
            _DEPTH: normalised.depth_to_space,
            _STRIPS: self.strips,
        }
        return tuple(name for name, on in names.items() if on)

    def normalised(self) -> GraphOptions:
        """Options that give the same graph, with all those switched off that have no effect because of others."""
        folded = self.fold_styles or self.baked_t is not None
        return replace(
            self,
            fold_styles=folded,
            blocked=self.blocked and folded and self.precision == "fp32",
            depth_to_space=self.depth_to_space and self.phase_upsampling,
        )

    def for_engine(self) -> GraphOptions:
        """Options that suit TensorRT best.

        TensorRT computes all layers that share a small input at once: with the condition branch folded into every style
        layer, it would hold the styles of many layers. It broadcasts small operands and runs DepthToSpace without
        copies.
        """
        return replace(self, fold_styles=False, blocked=False, depth_to_space=True).normalised()


def producer() -> str:
    """The producer that graphs written by this version name."""
    return f"fxsr {fxsr.__version__}"


def layer_names(config: NetworkConfig) -> list[str]:
    """Parts of the graph whose precision can be chosen separately, in order."""
    trunk = [f"{config.trunk_name}.{index}" for index in range(config.nb)]
    doublings = [f"upconv{step}" for step in range(1, config.upsamplings + 1)]
    return ["styles", "conv_first", *trunk, "trunk_conv", *doublings, "HRconv", "conv_last"]


def model_facts(checkpoint: Checkpoint, options: GraphOptions) -> ModelFacts:
    """Facts about the graph of `emit_graph(checkpoint, options)`, for its metadata and manifest."""
    return ModelFacts(
        name=checkpoint.about.name,
        variant=checkpoint.about.variant,
        config=checkpoint.config,
        precision=options.precision,
        opset=_BRAIN_OPSET if options.precision == "bf16" and not options.emulate else OPSET,
        inputs=_inputs(options),
        outputs=(_picture("sr", options, 3, checkpoint.config.scale),),
        rewrites=options.rewrites,
        checkpoint_sha256=checkpoint.digest,
        recipe=checkpoint.about.recipe,
        licence=checkpoint.about.licence,
        producer=producer(),
        compact=options.compact,
        io=options.io,
        packed=options.packed,
        baked_t=options.baked_t,
        kept_float32=options.kept_float32,
    )


def options_of(facts: ModelFacts) -> GraphOptions:
    """The options that a graph with these facts was written with, normalised."""
    return GraphOptions(
        precision=facts.precision,
        fold_styles=facts.baked_t is not None or _FOLDED in facts.rewrites,
        blocked=_BLOCKED in facts.rewrites,
        phase_upsampling=_PHASES in facts.rewrites,
        depth_to_space=_DEPTH in facts.rewrites,
        strips=_STRIPS in facts.rewrites,
        compact=facts.compact,
        io=facts.io,
        packed=facts.packed,
        baked_t=facts.baked_t,
        kept_float32=facts.kept_float32,
    )


def _inputs(options: GraphOptions) -> tuple[TensorFacts, ...]:
    if options.packed:
        return (_picture("lr_t", options, 4),)
    lr = _picture("lr", options, 3)
    if options.baked_t is not None:
        return (lr,)
    return lr, TensorFacts("t_map", lr.dtype, "NCHW", ("n_t", 1, "h_t", "w_t"))


def _picture(name: str, options: GraphOptions, channels: int, scale: int = 1) -> TensorFacts:
    sides = ("h", "w") if scale == 1 else (f"{scale}*h", f"{scale}*w")
    if options.io == "uint8":
        return TensorFacts(name, "uint8", "NHWC", ("n", *sides, channels))
    dtype = "float16" if options.precision == "fp16" and not options.emulate else "float32"
    return TensorFacts(name, dtype, "NCHW", ("n", channels, *sides))


def save_graph(checkpoint: Checkpoint, options: GraphOptions, path: Path) -> None:
    """Write the graph to a file, without checking it."""
    ir.save(emit_graph(checkpoint, options), path)


def emit_graph(checkpoint: Checkpoint, options: GraphOptions) -> ir.Model:
    """Write the generator of `checkpoint` as an ONNX model that carries its `ModelFacts`."""
    facts = model_facts(checkpoint, options)
    writer = GraphWriter(options.precision, options.compact, options.kept_float32, options.emulate)
    inputs = [writer.input(each) for each in facts.inputs]
    sr = _emit_body(writer, checkpoint, options, inputs)
    graph = ir.Graph(
        inputs,
        [writer.output(sr, facts.outputs[0])],
        nodes=writer.tape.nodes,
        initializers=writer.tape.initializers,
        opset_imports={"": facts.opset},
        name=facts.name,
    )
    return ir.Model(
        graph,
        ir_version=_IR_VERSIONS[facts.opset],
        producer_name="fxsr",
        producer_version=fxsr.__version__,
        metadata_props={METADATA_KEY: encode_facts(facts)},
    )


def _emit_body(w: GraphWriter, checkpoint: Checkpoint, options: GraphOptions, inputs: Sequence[ir.Value]) -> ir.Value:
    """Write everything from the graph's inputs to its output: the network, and the conversions for `io` and
    `packed`."""
    integers = options.io == "uint8"
    first, *rest = inputs
    if integers:
        with w.float32():  # each layer casts: bfloat16 would round 1/255 to 1/254
            first = w.times(w.transpose(first, "input.planes", (0, 3, 1, 2)), 1 / 255, "input.scaled")
            rest = [w.times(each, 1 / 255, "style.scaled") for each in rest]
    if options.packed:
        first, *rest = w.split(first, "input.parts", (3, 1))
    sr = _Generator(w, checkpoint, options).emit(first, *rest)
    if integers:
        with w.layer("conv_last"):
            sr = w.rounded(w.times(sr, 255, "output.scaled"), "output", 0, 255)
            sr = w.transpose(sr, "output.pixels", (0, 2, 3, 1))
    return sr


class _Generator:
    """The generator's layers, in the order of `fxsr.models.network`."""

    def __init__(self, writer: GraphWriter, checkpoint: Checkpoint, options: GraphOptions) -> None:
        self.writer = writer
        self.config = checkpoint.config
        self.options = options = options.normalised()
        self.weights: Mapping[str, Array] = checkpoint.weights
        baked = None
        if options.baked_t is not None:
            baked = bake(checkpoint.config, checkpoint.weights, options.baked_t)
            self.weights = baked.weights
        self.styles = StyleLayers(
            writer, checkpoint.config, checkpoint.weights, options.fold_styles, options.blocked, baked
        )

    def emit(self, lr: ir.Value, t_map: ir.Value | None = None) -> ir.Value:
        """Write all layers. `t_map` is required unless the style is fixed."""
        w = self.writer
        with w.layer("styles"):
            self.styles.prepare(t_map, lr)
        with w.layer("conv_first"):
            x = first = self._conv(lr, "conv_first")
        block = {"rrdb": self._rrdb, "rb": self._residual_block}[self.config.trunk]
        for index in range(self.config.nb):
            name = f"{self.config.trunk_name}.{index}"
            with w.layer(name):
                x = block(x, name)
        with w.layer("trunk_conv"):
            x = w.add(self._conv(x, "trunk_conv"), first, "trunk_conv.add")
        *doublings, last = (f"upconv{step}" for step in range(1, self.config.upsamplings + 1))
        for name in doublings:
            with w.layer(name):
                x = self._double(x, name)
        end = partial(self._end, last)
        return in_strips(w, x, end) if self.options.strips else end(x)

    def _end(self, doubling: str, x: ir.Value) -> ir.Value:
        """The last upsampling and the layers after it, which need most of the memory."""
        w = self.writer
        with w.layer(doubling):
            x = self._double(x, doubling)
        with w.layer("HRconv"):
            x = w.leaky(self._conv(x, "HRconv"), SLOPE)
        with w.layer("conv_last"):
            return self._conv(x, "conv_last")

    def _conv(self, x: ir.Value, name: str, factor: float = 1.0) -> ir.Value:
        kernel, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.writer.conv(x, name, kernel * np.float32(factor), bias * np.float32(factor))

    def _rrdb(self, x: ir.Value, name: str) -> ir.Value:
        out = x
        for dense in (1, 2, 3):
            out = self._dense(out, f"{name}.RDB{dense}")
        if self.options.blocked:
            out = self.styles.affine(out, name, np.full(self.config.nf, RESIDUAL_SCALE, np.float32))
        else:
            out = self.writer.times(out, RESIDUAL_SCALE, f"{name}.mul")
        return self.writer.add(out, x, f"{name}.add")

    def _dense(self, x: ir.Value, name: str) -> ir.Value:
        w = self.writer
        seen = [x]
        for layer in range(1, 5):
            source = self.styles.apply(x, f"{name}.sft0") if layer == 1 else w.concat(seen, f"{name}.cat{layer}")
            feature = w.leaky(self._conv(source, f"{name}.conv{layer}"), SLOPE)
            seen.append(self.styles.apply(feature, f"{name}.sft{layer}"))
        # conv5 is linear, so the residual scale goes into its weights
        last = self._conv(w.concat(seen, f"{name}.cat5"), f"{name}.conv5", RESIDUAL_SCALE)
        return w.add(last, x, f"{name}.add")

    def _residual_block(self, x: ir.Value, name: str) -> ir.Value:
        w = self.writer
        out = w.relu(self._conv(self.styles.apply(x, f"{name}.sft0"), f"{name}.conv0"))
        out = self._conv(self.styles.apply(out, f"{name}.sft1"), f"{name}.conv1")
        return w.add(out, x, f"{name}.add")

    def _double(self, x: ir.Value, name: str) -> ir.Value:
        w = self.writer
        if not self.options.phase_upsampling:
            return w.leaky(self._conv(w.nearest_double(x, f"{name}.nearest"), name), SLOPE)
        bias = self.weights[f"{name}.bias"]
        phases = [
            w.leaky(w.conv(x, f"{name}.phase{py}{px}", kernel, bias, [1 - py, 1 - px, py, px]), SLOPE)
            for (py, px), kernel in phase_kernels(self.weights[f"{name}.weight"]).items()
        ]
        if self.options.depth_to_space:
            return w.depth_to_space(w.concat(phases, f"{name}.cat"), f"{name}.interleave")
        return w.interleave(phases, f"{name}.interleave")
