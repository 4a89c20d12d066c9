"""The generator as an ONNX graph, written straight from a checkpoint's weights.

Tracing the torch module takes minutes at the published size and leaves rewrites to pattern matching; writing the
graph takes a second and says exactly what is meant. `fxsr.network` stays the reference that tests and every export
compare with.

Graph contract: `lr` (n, 3, h, w) and `t_map` (n_t, 1, h_t, w_t) in, `sr` (n, 3, scale*h, scale*w) out, all of one type.
Each of n_t, h_t, w_t is 1 or equals its partner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fxsr
from fxsr.checkpoint import Checkpoint
from fxsr.config import COND_SLOPE, RESIDUAL_SCALE, SLOPE, sft_layers
from fxsr.export.rewrites import fold_condition, phase_kernels
from fxsr.extras import LazyModule
from fxsr.manifest import METADATA_KEY, ModelFacts, Precision, TensorFacts, encode_facts

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnx_ir import tape

    Styles: TypeAlias = Mapping[str, tuple[ir.Value, ir.Value]]
    """What each SFT layer multiplies by and adds."""
else:
    ir = LazyModule("onnx_ir", extra="export")
    tape = LazyModule("onnx_ir.tape", extra="export")

OPSET = 17
"""Low enough for TensorRT 10, TensorRT-RTX and five years of ONNX Runtime; nothing newer is needed."""
IR_VERSION = 8

Array = NDArray[np.float32]


@dataclass(frozen=True)
class GraphOptions:
    """How to write the graph. The rewrites are exact; they can be switched off to look for a fault."""

    precision: Precision = "fp32"
    """Type of weights, arithmetic, inputs and output. The graph is strongly typed: nothing else decides precision."""
    fold_condition: bool = True
    """Fold the condition branch's last convolution into every SFT layer."""
    phase_upsampling: bool = True
    """Replace doubling and 3x3 convolution by four 2x2 convolutions on the small grid."""
    compact: bool = False
    """Keep float32 arithmetic but store the weights as halves: half the file, for about 60 dB of agreement."""

    @property
    def rewrites(self) -> tuple[str, ...]:
        names = {"folded-condition": self.fold_condition, "phase-upsampling": self.phase_upsampling}
        return tuple(name for name, on in names.items() if on)


def model_facts(checkpoint: Checkpoint, options: GraphOptions) -> ModelFacts:
    """What the graph of `emit_graph(checkpoint, options)` is, as its metadata and manifest say it."""
    dtype = {"fp32": "float32", "fp16": "float16"}[options.precision]
    scale = checkpoint.config.scale
    return ModelFacts(
        name=checkpoint.about.name,
        variant=checkpoint.about.variant,
        config=checkpoint.config,
        precision=options.precision,
        opset=OPSET,
        inputs=(
            TensorFacts("lr", dtype, "NCHW", ("n", 3, "h", "w")),
            TensorFacts("t_map", dtype, "NCHW", ("n_t", 1, "h_t", "w_t")),
        ),
        outputs=(TensorFacts("sr", dtype, "NCHW", ("n", 3, f"{scale}*h", f"{scale}*w")),),
        rewrites=options.rewrites,
        checkpoint_sha256=checkpoint.digest,
        recipe=checkpoint.about.recipe,
        licence=checkpoint.about.licence,
        producer=f"fxsr {fxsr.__version__}",
    )


def emit_graph(checkpoint: Checkpoint, options: GraphOptions) -> ir.Model:
    """Write the generator of `checkpoint` as an ONNX model that carries its `ModelFacts`."""
    facts = model_facts(checkpoint, options)
    writer = _Writer(options)
    lr, t_map = (writer.tensor(each) for each in facts.inputs)
    sr = _Generator(writer, checkpoint, options).emit(lr, t_map)
    writer.declare(sr, facts.outputs[0])
    graph = ir.Graph(
        [lr, t_map],
        [sr],
        nodes=writer.tape.nodes,
        initializers=writer.tape.initializers,
        opset_imports={"": OPSET},
        name=facts.name,
    )
    return ir.Model(
        graph,
        ir_version=IR_VERSION,
        producer_name="fxsr",
        producer_version=fxsr.__version__,
        metadata_props={METADATA_KEY: encode_facts(facts)},
    )


class _Writer:
    """Operators by their usual names, each node called after the layer that it comes from."""

    def __init__(self, options: GraphOptions) -> None:
        self.tape = tape.Tape()
        self._half = options.precision == "fp16"
        self._compact = options.compact and not self._half
        self._names: dict[str, int] = {}

    def tensor(self, facts: TensorFacts) -> ir.Value:
        return self.declare(ir.Value(), facts)

    def declare(self, value: ir.Value, facts: TensorFacts) -> ir.Value:
        value.name = facts.name
        value.shape = ir.Shape(facts.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(np.dtype(facts.dtype)))
        return value

    def conv(
        self,
        x: ir.Value,
        name: str,
        kernel: Array,
        bias: Array,
        pads: Sequence[int] | None = None,
        group: int = 1,
    ) -> ir.Value:
        """Convolution; `pads` is top, left, bottom, right, by default such that the size stays."""
        size = kernel.shape[2]
        inputs = [x, self._weight(f"{name}.weight", kernel), self._weight(f"{name}.bias", bias)]
        pads = pads or [size // 2] * 4
        return self._op("Conv", name, inputs, kernel_shape=[size, size], pads=pads, group=group)

    def leaky(self, x: ir.Value, slope: float) -> ir.Value:
        return self._op("LeakyRelu", f"{x.name}.lrelu", [x], alpha=slope)

    def relu(self, x: ir.Value) -> ir.Value:
        return self._op("Relu", f"{x.name}.relu", [x])

    def concat(self, values: Sequence[ir.Value], name: str) -> ir.Value:
        return self._op("Concat", name, values, axis=1)

    def halve(self, x: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        """The first and the second half of the channels."""
        first, second = self.tape.op_multi_out("Split", [x], {"axis": 1}, num_outputs=2, name=self._unique(name))
        first.name, second.name = f"{name}.first", f"{name}.second"
        return first, second

    def add(self, a: ir.Value, b: ir.Value, name: str) -> ir.Value:
        return self._op("Add", name, [a, b])

    def mul(self, a: ir.Value, b: ir.Value, name: str) -> ir.Value:
        return self._op("Mul", name, [a, b])

    def times(self, x: ir.Value, factor: float, name: str) -> ir.Value:
        return self.mul(x, self._weight(f"{name}.factor", np.array(factor, np.float32)), name)

    def depth_to_space(self, x: ir.Value, name: str) -> ir.Value:
        return self._op("DepthToSpace", name, [x], blocksize=2, mode="DCR")

    def nearest_double(self, x: ir.Value, name: str) -> ir.Value:
        scales = self.tape.initializer(ir.tensor(np.array([1, 1, 2, 2], np.float32)), name=f"{name}.scales")
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._op("Resize", name, [x, None, scales], **modes)

    def _weight(self, name: str, values: Array) -> ir.Value:
        stored = np.ascontiguousarray(values, np.float16 if self._half or self._compact else np.float32)
        weight = self.tape.initializer(ir.tensor(stored), name=self._unique(name))
        if self._compact:
            return self._op("Cast", f"{weight.name}.cast", [weight], to=ir.DataType.FLOAT)
        return weight

    def _op(self, kind: str, name: str, inputs: Sequence[ir.Value | None], **attributes: object) -> ir.Value:
        unique = self._unique(name)
        value: ir.Value = self.tape.op(kind, inputs, attributes, name=unique)  # type: ignore[arg-type]
        value.name = unique
        return value

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}.{count}" if count else name


class _Generator:
    """The generator's layers, in the order of `fxsr.network`."""

    def __init__(self, writer: _Writer, checkpoint: Checkpoint, options: GraphOptions) -> None:
        self.writer = writer
        self.config = checkpoint.config
        self.weights: Mapping[str, Array] = checkpoint.weights
        self.options = options

    def emit(self, lr: ir.Value, t_map: ir.Value) -> ir.Value:
        w = self.writer
        cond = w.leaky(self._conv(t_map, "CondNet.0"), COND_SLOPE)
        if not self.options.fold_condition:
            cond = self._conv(cond, "CondNet.2")
        # All styles stand before the trunk, each ending in a Split: ONNX Runtime walks back from the output and takes
        # the operand that stands last first, so this makes it compute each style right where it is used. Otherwise it
        # computes and holds those of all layers before it begins (1.4 GB more at 128x128).
        styles = {sft: self._style(cond, sft) for sft in sft_layers(self.config)}
        first = self._conv(lr, "conv_first")
        x = first
        block = {"rrdb": self._rrdb, "rb": self._residual_block}[self.config.trunk]
        for index in range(self.config.nb):
            x = block(x, styles, f"{self.config.trunk_name}.{index}")
        x = w.add(self._conv(x, "trunk_conv"), first, "trunk_conv.add")
        for step in range(1, self.config.upsamplings + 1):
            x = self._double(x, f"upconv{step}")
        x = w.leaky(self._conv(x, "HRconv"), SLOPE)
        return self._conv(x, "conv_last")

    def _conv(self, x: ir.Value, name: str, factor: float = 1.0) -> ir.Value:
        kernel, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.writer.conv(x, name, kernel * np.float32(factor), bias * np.float32(factor))

    def _rrdb(self, x: ir.Value, styles: Styles, name: str) -> ir.Value:
        out = x
        for dense in (1, 2, 3):
            out = self._dense(out, styles, f"{name}.RDB{dense}")
        return self.writer.add(self.writer.times(out, RESIDUAL_SCALE, f"{name}.mul"), x, f"{name}.add")

    def _dense(self, x: ir.Value, styles: Styles, name: str) -> ir.Value:
        w = self.writer
        seen = [x]
        for layer in range(1, 5):
            source = self._sft(x, styles, f"{name}.sft0") if layer == 1 else w.concat(seen, f"{name}.cat{layer}")
            feature = w.leaky(self._conv(source, f"{name}.conv{layer}"), SLOPE)
            seen.append(self._sft(feature, styles, f"{name}.sft{layer}"))
        # the residual scale is a factor of a linear layer: it goes into its weights
        last = self._conv(w.concat(seen, f"{name}.cat5"), f"{name}.conv5", RESIDUAL_SCALE)
        return w.add(last, x, f"{name}.add")

    def _residual_block(self, x: ir.Value, styles: Styles, name: str) -> ir.Value:
        w = self.writer
        out = w.relu(self._conv(self._sft(x, styles, f"{name}.sft0"), f"{name}.conv0"))
        out = self._conv(self._sft(out, styles, f"{name}.sft1"), f"{name}.conv1")
        return w.add(out, x, f"{name}.add")

    def _sft(self, x: ir.Value, styles: Styles, name: str) -> ir.Value:
        scale, shift = styles[name]
        return self.writer.add(self.writer.mul(x, scale, f"{name}.mul"), shift, f"{name}.add")

    def _style(self, cond: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        """What an SFT layer multiplies by (scale + 1) and adds (shift): both branches side by side, then parted."""
        w = self.writer
        branches = [f"{name}.SFT_scale", f"{name}.SFT_shift"]
        hidden = [self._hidden_weights(f"{branch}_conv0") for branch in branches]
        kernel, bias = (np.concatenate(parts) for parts in zip(*hidden, strict=True))
        x = w.leaky(w.conv(cond, f"{name}.conv0", kernel, bias), COND_SLOPE)
        kernel = np.concatenate([self.weights[f"{branch}_conv1.weight"] for branch in branches])
        scale, shift = (self.weights[f"{branch}_conv1.bias"] for branch in branches)
        x = w.conv(x, f"{name}.conv1", kernel, np.concatenate([scale + 1, shift]), group=2)
        return w.halve(x, f"{name}.style")

    def _hidden_weights(self, conv0: str) -> tuple[Array, Array]:
        if self.options.fold_condition:
            return fold_condition(self.weights, conv0)
        return self.weights[f"{conv0}.weight"], self.weights[f"{conv0}.bias"]

    def _double(self, x: ir.Value, name: str) -> ir.Value:
        w = self.writer
        if not self.options.phase_upsampling:
            return w.leaky(self._conv(w.nearest_double(x, f"{name}.nearest"), name), SLOPE)
        bias = self.weights[f"{name}.bias"]
        phases = [
            w.leaky(w.conv(x, f"{name}.phase{py}{px}", kernel, bias, [1 - py, 1 - px, py, px]), SLOPE)
            for (py, px), kernel in phase_kernels(self.weights[f"{name}.weight"]).items()
        ]
        return w.depth_to_space(w.concat(phases, f"{name}.cat"), f"{name}.interleave")
