"""Groups 3 and 4 of the hardware report: how fast the forms of a model are, and what each rewrite is worth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fxsr.benchmarks.gpu.models import REWRITES, ModelSpec, Side, Size
from fxsr.benchmarks.gpu.steps import Journal
from fxsr.benchmarks.speed.measure import BenchOptions, measure_models
from fxsr.benchmarks.speed.report import BenchReport
from fxsr.benchmarks.speed.subjects import Form, Subject
from fxsr.errors import UnavailableError
from fxsr.export.engine.profiles import Tiles
from fxsr.models.file import ModelFile, ModelFileKind
from fxsr.models.manifest import Flavour, Precision
from fxsr.runtime.backends.tensorrt.engine_file import EXTRAS

_OPTIONAL = "torch.compile"
"""This form may be missing: it needs a C++ compiler."""


def compare_forms(
    journal: Journal, side: Side, blocks: int, precision: Precision, size: Size, timing: dict[str, Any]
) -> None:
    """Time eager torch, torch.compile, the plain graph, fxsr's graph and the engines that were built, in turns.

    Args:
        journal: of the step.
        side, blocks: which model; see `ModelSpec`.
        precision: of all forms; engines take part in fp16 only.
        size: of the LR image.
        timing: further fields of `BenchOptions`: device, t_map, seconds, rounds, warm_up.

    Raises:
        FxsrError: no form can run.
    """
    model = ModelSpec(side, blocks)
    work = journal.work
    suffix = "-fp16" if precision == "fp16" else ""
    torch_forms: dict[str, Form] = {"eager torch": "torch", "torch.compile": "torch-compile"}
    if suffix:
        torch_forms = {"eager torch": "torch-fp16", "torch.compile": "torch-compile-fp16"}
    checkpoint = ModelFile(model.checkpoint(work), ModelFileKind.CHECKPOINT)
    subjects = [Subject(label, checkpoint, form) for label, form in torch_forms.items()]
    for label, rewrites in (("plain ONNX", "none"), ("fxsr ONNX", "all")):
        subjects.append(Subject(label, ModelFile(model.graph(work, precision, rewrites), ModelFileKind.ONNX), "onnx"))
    engines = precision == "fp16" and timing["device"] != "cpu"
    for flavour in EXTRAS if engines else ():
        try:
            engine = model.engine(work, flavour, size)
        except UnavailableError as error:
            journal.add(f"{flavour} engine", note=str(error))
        else:
            subjects.append(Subject(f"{flavour} engine", ModelFile(engine, ModelFileKind.ENGINE), "plan"))
    _measure(journal, subjects, size, timing)


def compare_rewrites(
    journal: Journal, side: Side, blocks: int, precision: Precision, size: Size, timing: dict[str, Any]
) -> None:
    """Time graphs without one rewrite or without any on ONNX Runtime, in turns with the graph with all."""
    model = ModelSpec(side, blocks)
    subjects = []
    for name in REWRITES:
        if name == "no blocked layout" and precision != "fp32":
            continue  # half precision has none
        file = ModelFile(model.graph(journal.work, precision, name), ModelFileKind.ONNX)
        subjects.append(Subject(f"ONNX, rewrites: {name}", file, "onnx"))
    _measure(journal, subjects, size, timing)


def compare_engine_rewrites(
    journal: Journal, side: Side, blocks: int, flavour: Flavour, size: Size, timing: dict[str, Any]
) -> None:
    """Build an engine from each of the graphs of `compare_rewrites`, and time them in turns.

    Raises:
        UnavailableError: the flavour can't build here.
    """
    model = ModelSpec(side, blocks)
    subjects = []
    for name in REWRITES:
        if name == "no blocked layout":
            continue
        result = model.build(journal.work, flavour, Tiles((size,) * 3), name)
        assert result.engine is not None  # the request names one
        file = ModelFile(result.engine, ModelFileKind.ENGINE)
        subjects.append(Subject(f"{flavour} engine, rewrites: {name}", file, "plan"))
    _measure(journal, subjects, size, timing)


def _measure(journal: Journal, subjects: Sequence[Subject], size: Size, timing: dict[str, Any]) -> None:
    options = BenchOptions(sizes=((size[0], size[1]),), **timing)
    record(journal, measure_models(subjects, options, compare=True, on_step=partial(print, flush=True)))


def record(journal: Journal, report: BenchReport) -> None:
    """Write a comparison into a step's journal. A form that could not run fails the step, except for `_OPTIONAL`."""
    ratios = {pair.model: pair.ratio for pair in report.comparisons}
    for one in report.measurements:
        ratio = ratios.get(one.model)
        journal.add_row(
            one.model,
            {
                "median ms": one.total.median * 1e3,
                "compute ms": one.compute.median * 1e3,
                "p99 ms": one.total.p99 * 1e3,
                "times as fast": ratio.median if ratio else 1.0,
                "95 %": f"{ratio.low:.2f}..{ratio.high:.2f}" if ratio else "",
                "images/s": one.rate.images_per_s,
                "device MB": one.memory.device / 1e6 if one.memory.device else None,
                "host MB": one.memory.host / 1e6 if one.memory.host else None,
                "% of peak": one.work.share * 100 if one.work and one.work.share else None,
                "note": "; ".join(one.notes),
            },
        )
    for missing in report.unavailable:
        journal.add(missing.model, note=f"did not run: {missing.reason}")
        if not missing.model.startswith(_OPTIONAL):
            journal.fail(f"{missing.model} did not run: {missing.reason}")
