"""Writes ONNX operators in the number type of the current layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fxsr.extras import LazyModule
from fxsr.models.manifest import Precision, TensorFacts

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnx_ir import tape
else:
    ir = LazyModule("onnx_ir", extra="export")
    tape = LazyModule("onnx_ir.tape", extra="export")

Array = NDArray[np.float32]


class GraphWriter:
    """Appends operators to a tape. Each node is named after the layer that it belongs to.

    Args:
        precision: precision of weights and arithmetic.
        compact: with float32 arithmetic, store weights in half precision.
        kept: layers that compute in float32 whatever the precision; see `layer`.
        emulate: compute in float32 and round every result to `precision`, for runtimes that lack it.
    """

    def __init__(
        self, precision: Precision, compact: bool = False, kept: Sequence[str] = (), emulate: bool = False
    ) -> None:
        self.tape = tape.Tape()
        types = {"fp32": ir.DataType.FLOAT, "fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
        self._low = types[precision]
        self._type = self._low
        self._compact = compact and precision == "fp32"
        self._kept = frozenset(kept)
        self._emulate = emulate and precision != "fp32"
        self._names: dict[str, int] = {}
        self._types: dict[ir.Value, ir.DataType] = {}
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._sizes: dict[int, ir.Value] = {}
        self._constants: dict[tuple[str, ir.DataType], ir.Value] = {}

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """Write the operators inside the block in this layer's type: float32 if the layer is kept in float32."""
        with self._typed(ir.DataType.FLOAT if name in self._kept else self._low):
            yield

    @contextmanager
    def float32(self) -> Iterator[None]:
        """Write the operators inside the block, which belong to no layer, in float32."""
        with self._typed(ir.DataType.FLOAT):
            yield

    def input(self, facts: TensorFacts) -> ir.Value:
        """An input of the graph."""
        value = ir.Value()
        self._declare(value, facts)
        self._types[value] = ir.DataType.from_numpy(np.dtype(facts.dtype))
        return value

    def output(self, value: ir.Value, facts: TensorFacts) -> ir.Value:
        """An output of the graph: `value`, cast to the type that `facts` states."""
        value = self.cast(value, ir.DataType.from_numpy(np.dtype(facts.dtype)))
        self._declare(value, facts)
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
        """A convolution. `pads` is top, left, bottom, right; by default the output has the size of the input."""
        size = kernel.shape[2]
        inputs = [x, self.constant(f"{name}.weight", kernel), self.constant(f"{name}.bias", bias)]
        pads = pads or [size // 2] * 4
        return self._op("Conv", name, inputs, kernel_shape=[size, size], pads=pads, group=group)

    def leaky(self, x: ir.Value, slope: float) -> ir.Value:
        return self._op("LeakyRelu", f"{x.name}.lrelu", [x], alpha=slope)

    def relu(self, x: ir.Value) -> ir.Value:
        return self._op("Relu", f"{x.name}.relu", [x])

    def concat(self, values: Sequence[ir.Value], name: str) -> ir.Value:
        return self._op("Concat", name, values, axis=1)

    def stack(self, values: Sequence[ir.Value], name: str) -> ir.Value:
        """Concatenate along the height, in the values' own type."""
        with self._typed(self._types[values[0]]):
            return self._op("Concat", name, values, axis=2)

    def split(self, x: ir.Value, name: str, sizes: Sequence[int]) -> list[ir.Value]:
        """Split the channels into parts of these sizes, in the tensor's own type."""
        lengths = self.tape.initializer(ir.tensor(np.array(sizes, np.int64)), name=f"{name}.sizes")
        found = self.tape.op_multi_out(
            "Split", [x, lengths], {"axis": 1}, num_outputs=len(sizes), name=self._unique(name)
        )
        for index, value in enumerate(found):
            value.name = f"{name}.{index}"
            self._types[value] = self._types[x]
        return list(found)

    def side(self, x: ir.Value, axis: int) -> ir.Value:
        """The length of an axis."""
        return self.sizes("Gather", self.sizes("Shape", x), axis)

    def sizes(self, kind: str, *operands: ir.Value | int, **attributes: int) -> ir.Value:
        """Write an operator on sizes, which are tensors of one integer."""
        inputs = [self._size(each) if isinstance(each, int) else each for each in operands]
        name = self._unique("size")
        value: ir.Value = self.tape.op(kind, inputs, attributes, name=name)
        value.name = name
        return value

    def spread(self, x: ir.Value, picture: ir.Value, name: str) -> ir.Value:
        """Repeat one channel to the batch, height and width of `picture`, in its own type."""
        sides = self.sizes("Concat", self.side(picture, 0), 1, self.side(picture, 2), self.side(picture, 3), axis=0)
        with self._typed(self._types[x]):
            return self._op("Expand", name, [x, sides])

    def announce(self, x: ir.Value, shape: Sequence[int | str]) -> None:
        """State a tensor's shape in the graph, and that it has the layer's type. Axes of equal names have equal
        lengths."""
        x.shape, x.type = ir.Shape(shape), ir.TensorType(self._type)

    def cut(self, x: ir.Value, begin: ir.Value, end: ir.Value, name: str) -> ir.Value:
        """Rows `begin` to `end` (exclusive), in the tensor's own type."""
        with self._typed(self._types[x]):
            return self._op("Slice", name, [x, begin, end, self._size(2)])

    def _size(self, value: int) -> ir.Value:
        if value not in self._sizes:
            self._sizes[value] = self.tape.initializer(ir.tensor(np.array([value], np.int64)), name=f"size.of.{value}")
        return self._sizes[value]

    def add(self, a: ir.Value, b: ir.Value, name: str) -> ir.Value:
        return self._op("Add", name, [a, b])

    def mul(self, a: ir.Value, b: ir.Value, name: str) -> ir.Value:
        return self._op("Mul", name, [a, b])

    def times(self, x: ir.Value, factor: float, name: str) -> ir.Value:
        return self.mul(x, self.constant(f"{name}.factor", np.array(factor, np.float32)), name)

    def depth_to_space(self, x: ir.Value, name: str) -> ir.Value:
        return self._op("DepthToSpace", name, [x], blocksize=2, mode="DCR")

    def interleave(self, phases: Sequence[ir.Value], name: str) -> ir.Value:
        """Interleave four images as the even and odd columns of the even and odd rows of one image, with copies only.
        The result equals `depth_to_space` of their channels."""
        width = self.sizes("Mul", self.side(phases[0], 3), 2)
        apart = [self._op("Unsqueeze", f"{name}.apart", [phase, self._size(4)]) for phase in phases]
        rows = [self._op("Concat", f"{name}.columns", pair, axis=4) for pair in (apart[:2], apart[2:])]
        both = self._op("Concat", f"{name}.rows", rows, axis=3)
        shape = self.sizes("Concat", 0, 0, -1, width, axis=0)  # 0: keep this axis
        return self._op("Reshape", name, [both, shape])

    def nearest_double(self, x: ir.Value, name: str) -> ir.Value:
        scales = self.tape.initializer(ir.tensor(np.array([1, 1, 2, 2], np.float32)), name=f"{name}.scales")
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._op("Resize", name, [x, None, scales], **modes)

    def transpose(self, x: ir.Value, name: str, axes: Sequence[int]) -> ir.Value:
        return self._op("Transpose", name, [x], perm=list(axes))

    def rounded(self, x: ir.Value, name: str, low: float, high: float) -> ir.Value:
        """Clamp to a range and round to integers."""
        limits = [
            self.constant(f"{name}.{side}", np.array(value, np.float32))
            for side, value in (("low", low), ("high", high))
        ]
        return self._op("Round", f"{name}.round", [self._op("Clip", f"{name}.clip", [x, *limits])])

    def cast(self, x: ir.Value, to: ir.DataType) -> ir.Value:
        """Cast `x` to another type. Equal casts share one node."""
        if self._types[x] == to or (self._emulate and self._types[x] == self._low and to == ir.DataType.FLOAT):
            return x
        if (x, to) not in self._casts:
            emulated = self._emulate and to == self._low
            value = self._cast(x, ir.DataType.FLOAT) if emulated and self._types[x] != ir.DataType.FLOAT else x
            self._casts[x, to] = self._rounded_to_low(value) if emulated else self._cast(x, to)
        return self._casts[x, to]

    def constant(self, name: str, values: Array) -> ir.Value:
        """A weight, in the layer's type. A name means one array: layers that are written twice share it."""
        kind = ir.DataType.FLOAT16 if self._compact and values.ndim else self._type
        if (name, kind) not in self._constants:
            with np.errstate(over="ignore"):  # overflow is detected later, by `choose_precision`
                stored = values.astype(kind.numpy())
            if self._emulate:
                stored = stored.astype(np.float32)
            weight = self.tape.initializer(ir.tensor(np.ascontiguousarray(stored)), name=self._unique(name))
            self._types[weight] = kind
            self._constants[name, kind] = weight
        return self.cast(self._constants[name, kind], self._type)

    @contextmanager
    def _typed(self, kind: ir.DataType) -> Iterator[None]:
        before, self._type = self._type, kind
        try:
            yield
        finally:
            self._type = before

    def _op(self, kind: str, name: str, inputs: Sequence[ir.Value | None], **attributes: object) -> ir.Value:
        own = [value if value is None or value not in self._types else self.cast(value, self._type) for value in inputs]
        unique = self._unique(name)
        value: ir.Value = self.tape.op(kind, own, attributes, name=unique)  # type: ignore[arg-type]
        value.name = unique
        self._types[value] = self._type
        return self._rounded_to_low(value) if self._emulate and self._type == self._low else value

    def _rounded_to_low(self, value: ir.Value) -> ir.Value:
        back = self._cast(self._cast(value, self._low), ir.DataType.FLOAT)
        self._types[back] = self._low
        return back

    def _cast(self, x: ir.Value, to: ir.DataType) -> ir.Value:
        name = self._unique(f"{x.name}.{to.name.lower()}")
        value = self.tape.op("Cast", [x], {"to": to}, name=name)
        value.name = name
        self._types[value] = to
        return value

    def _declare(self, value: ir.Value, facts: TensorFacts) -> None:
        value.name = facts.name
        value.shape = ir.Shape(facts.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(np.dtype(facts.dtype)))

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}.{count}" if count else name
