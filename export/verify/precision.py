"""Is half precision enough? If not for every layer, which must stay in float32?

Judged on photos before anything is written: the graph with every result rounded to half, against the same in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fxsr.export.graph.graph import GraphOptions, layer_names, save_graph
from fxsr.export.verify.cases import Case, Material, Shapes, make_cases
from fxsr.export.verify.verify import HALF_LIMIT, agreement
from fxsr.models.checkpoint import Checkpoint
from fxsr.models.manifest import Precision
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.session import CPU, Array

_ALWAYS: dict[Precision, dict[str, str]] = {
    "fp32": {},
    "fp16": {},
    "bf16": {"conv_last": "bfloat16's steps near white are as large as those of 8 bits"},
}


@dataclass(frozen=True)
class PrecisionChoice:
    """How a graph is to be written so that its precision holds."""

    options: GraphOptions
    reasons: dict[str, str]
    """Why each layer of `options.kept_float32` is kept."""


def choose_precision(checkpoint: Checkpoint, options: GraphOptions, tell: Callable[[str], None]) -> PrecisionChoice:
    """Find the layers that must be kept in float32 for the graph to agree with float32 by `HALF_LIMIT`.

    Args:
        checkpoint: the network.
        options: how its graph is asked for; with float32 there is nothing to find.
        tell: hears of steps.
    """
    if options.precision == "fp32":
        return PrecisionChoice(options, {})
    always = _ALWAYS[options.precision]
    with TemporaryDirectory() as folder:
        gate = _Gate(checkpoint, options, Path(folder))
        fault = gate.fault(tuple(always))
        if fault is None:
            return PrecisionChoice(replace(options, kept_float32=tuple(always)), dict(always))
        tell(f"{options.precision} alone is not enough ({fault}): looking for the layers that need float32")
        names = layer_names(checkpoint.config)
        kept = fewest(names, lambda some: gate.fault(some) is None)
        reasons = {name: _reason(gate, kept, name) for name in kept}
    return PrecisionChoice(replace(options, kept_float32=kept), reasons)


def fewest(names: Sequence[str], enough: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """A set of names that is enough and of which none can be left out, found by leaving out ever smaller parts.

    Args:
        names: all of them, which are enough.
        enough: asked about subsets, in order.
    """
    kept = tuple(names)
    size = len(kept) // 2
    while size:
        at = 0
        while at < len(kept):
            rest = kept[:at] + kept[at + size :]
            if enough(rest):
                kept = rest
            else:
                at += size
        size //= 2
    return kept


class _Gate:
    """Answers how a graph with some layers in float32 compares with one in float32 throughout."""

    def __init__(self, checkpoint: Checkpoint, options: GraphOptions, folder: Path) -> None:
        self._checkpoint = checkpoint
        self._options = replace(options, io="float", packed=False, emulate=True)
        self._path = folder / "graph.onnx"
        self._cases = list(make_cases(Material(), Shapes(batches=(1,))))
        exact = self._run(replace(self._options, precision="fp32", emulate=False))
        self._wanted = [exact(case) for case in self._cases]

    def fault(self, kept: Sequence[str]) -> str | None:
        """What is wrong with keeping just these; None if it is enough."""
        run = self._run(replace(self._options, kept_float32=tuple(kept)))
        for case, wanted in zip(self._cases, self._wanted, strict=True):
            found = run(case)
            if not np.isfinite(found).all():
                return "NaN or infinity"
            psnr = agreement(found, wanted)
            if psnr < HALF_LIMIT:
                return f"PSNR {psnr:.1f} dB, not {HALF_LIMIT:g}"
        return None

    def _run(self, options: GraphOptions) -> Callable[[Case], Array]:
        save_graph(self._checkpoint, options, self._path)
        session = OrtSession(self._path, CPU)
        return lambda case: session.run(case.lr, case.t_map)


def _reason(gate: _Gate, kept: Sequence[str], name: str) -> str:
    fault = gate.fault([each for each in kept if each != name])
    return f"without it: {fault}"
