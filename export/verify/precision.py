"""Finds out which layers must stay in float32 for a graph in half precision or bfloat16 to be accurate.

Before anything is written, the graph with every result rounded is compared with the same graph in float32, on photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fxsr.export.graph.graph import GraphOptions, layer_names, save_graph
from fxsr.export.verify.cases import CaseShapes, make_cases
from fxsr.export.verify.verify import HALF_LIMIT, ByteSession, agreement
from fxsr.models.checkpoint import Checkpoint
from fxsr.models.manifest import Precision
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.session import CPU, Session
from fxsr.scratch import scratch_folder

_ALWAYS: dict[Precision, dict[str, str]] = {
    "fp32": {},
    "fp16": {},
    "bf16": {"conv_last": "bfloat16's steps near white are as large as those of 8 bits"},
}
"""Layers that are kept in float32 whatever the comparison says, and why."""


@dataclass(frozen=True)
class PrecisionChoice:
    """Options that make a graph accurate enough."""

    options: GraphOptions
    reasons: dict[str, str]
    """Why each layer of `options.kept_float32` is kept in float32."""


def choose_precision(checkpoint: Checkpoint, options: GraphOptions, on_step: Callable[[str], None]) -> PrecisionChoice:
    """Find the layers that must stay in float32 for the graph to reach `HALF_LIMIT`.

    Args:
        checkpoint: the network.
        options: options of the graph; in float32 they are returned unchanged.
        on_step: called at the beginning of a long step.
    """
    if options.precision == "fp32":
        return PrecisionChoice(options, {})
    always = _ALWAYS[options.precision]
    with scratch_folder() as folder:
        test = _PrecisionTest(checkpoint, options, folder)
        fault = test.fault(tuple(always))
        if fault is None:
            return PrecisionChoice(replace(options, kept_float32=tuple(always)), dict(always))
        on_step(f"{options.precision} alone is not accurate enough ({fault}): searching for layers that need float32")
        names = layer_names(checkpoint.config)
        others = [name for name in names if name not in always]
        added = fewest(others, lambda some: test.fault((*always, *some)) is None)
        kept = tuple(name for name in names if name in always or name in added)
        reasons = {name: always.get(name) or _reason(test, kept, name) for name in kept}
    return PrecisionChoice(replace(options, kept_float32=kept), reasons)


def fewest(names: Sequence[str], enough: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """Find a sufficient set of names from which none can be removed, by removing ever smaller parts.

    Args:
        names: all names, which are sufficient.
        enough: whether a subset, in order, is sufficient.
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


class _PrecisionTest:
    """Compares graphs with some layers in float32, in the form that `options` describe, with the graph that is in
    float32 throughout and takes floats."""

    def __init__(self, checkpoint: Checkpoint, options: GraphOptions, folder: Path) -> None:
        self._checkpoint = checkpoint
        self._options = replace(options, emulate=True)
        self._path = folder / "graph.onnx"
        self._cases = list(make_cases(baked_t=options.baked_t, shapes=CaseShapes(batches=(1,))))
        exact = self._open(replace(options, precision="fp32", io="float", packed=False))
        exact = ByteSession(exact) if options.io == "uint8" else exact
        self._wanted = [exact.run(case.lr, case.t_map) for case in self._cases]

    def fault(self, kept: Sequence[str]) -> str | None:
        """What is wrong if only these layers are kept in float32. None: nothing."""
        session = self._open(replace(self._options, kept_float32=tuple(kept)))
        for case, wanted in zip(self._cases, self._wanted, strict=True):
            found = session.run(case.lr, case.t_map)
            if not np.isfinite(found).all():
                return "NaN or infinity"
            psnr = agreement(found, wanted)
            if psnr < HALF_LIMIT:
                return f"PSNR {psnr:.1f} dB, not {HALF_LIMIT:g}"
        return None

    def _open(self, options: GraphOptions) -> Session:
        save_graph(self._checkpoint, options, self._path)
        return OrtSession(self._path, CPU)


def _reason(test: _PrecisionTest, kept: Sequence[str], name: str) -> str:
    fault = test.fault([each for each in kept if each != name])
    return f"otherwise: {fault}"
