"""Finds where two forms of a network diverge: compares all inner tensors in the order of computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.errors import UsageError
from fxsr.export.graph.graph import GraphOptions, model_facts, options_of, save_graph
from fxsr.export.verify.cases import Case, CaseShapes, make_cases
from fxsr.export.verify.compare import ComparedModel, Photos, engine_shapes
from fxsr.export.verify.runners import RunnerSession, claim_backend, onnx_runner
from fxsr.export.verify.verify import agreement, threshold
from fxsr.models.manifest import EngineFacts, ModelFacts, is_intact
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile
from fxsr.runtime.session import Array
from fxsr.scratch import scratch_folder

_SHAPES = CaseShapes(((32, 32),), (1,))
_ROUNDINGS = 16
"""Number of accumulated rounding errors above which a layer counts as diverging."""


@dataclass(frozen=True)
class LayerDifference:
    """The difference of one tensor that two graphs have in common."""

    name: str
    passed: bool
    psnr_db: float | None
    """The peak is the reference's range. None: the tensors are equal, or hold NaN or infinity."""
    max_abs: float
    relative: float
    """Norm of the difference over norm of the reference."""


def compare_layers(reference: ComparedModel, other: ComparedModel, photos: Photos) -> list[LayerDifference]:
    """Compare the inner tensors of two networks, on one photo with a ramp as style map.

    A checkpoint is compared as its float32 graph without rewrites. An engine is built again with every tensor as an
    output, which prevents the builder from fusing layers: faults of fused kernels are not found.

    Args:
        reference: the model to compare with.
        other: the model to compare.
        photos: the first photo is used.

    Returns:
        Tensors of the same name and shape in both, in the order of `other`'s graph.

    Raises:
        UsageError: the two have no tensors in common.
        UnavailableError: an engine needs a GPU, and there is none.
    """
    name, photo = next(iter(photos.items()))
    engines = [model.engine for model in (reference, other) if model.engine]
    shapes = _SHAPES
    if engines:
        shapes = engine_shapes(engines[-1])
        shapes = replace(shapes, batches=shapes.batches[:1])  # the smallest
    baked_t = next((each.baked_t for each in (reference, other) if each.baked_t is not None), None)
    for engine in engines:
        claim_backend(engine)
    *_, case = make_cases({name: photo}, baked_t, shapes)
    with scratch_folder() as folder:
        wanted, found = (
            _run(each, against, case, folder) for each, against in ((reference, other), (other, reference))
        )
    graphs = [model.graph for model in (reference, other) if model.graph]
    limit = _limit(graphs, engine=bool(engines))
    one_baked = reference.baked_t != other.baked_t
    layers = [
        _layer(name, wanted[name], values, limit)
        for name, values in found.items()
        if name in wanted
        and wanted[name].shape == values.shape
        and values.dtype.kind != "i"  # sizes
        and not (one_baked and _is_rebalanced(name))
    ]
    if not layers:
        raise UsageError(f"{reference.path} and {other.path} have no layers in common")
    return layers


def _limit(graphs: Sequence[ModelFacts], engine: bool) -> float:
    """Largest relative difference: several rounding errors of the coarsest type."""
    if (exact := threshold(*graphs, engine=engine).relative) is not None:
        return exact
    coarse = any(graph.precision == "bf16" or graph.io == "uint8" for graph in graphs)
    return _ROUNDINGS * (2**-8 if coarse else 2**-11)


def _layer(name: str, wanted: Array, found: Array, limit: float) -> LayerDifference:
    expected, actual = wanted.astype(np.float32), found.astype(np.float32)
    if not np.isfinite(actual).all():
        return LayerDifference(name, False, None, float("inf"), float("inf"))
    norm = float(np.linalg.norm(expected)) or 1.0
    relative = float(np.linalg.norm(actual - expected)) / norm
    decibel = agreement(actual, expected, min_peak=0)
    psnr_db = decibel if np.isfinite(decibel) else None
    return LayerDifference(name, relative <= limit, psnr_db, float(np.abs(actual - expected).max()), relative)


def _is_rebalanced(name: str) -> bool:
    """Whether fixing the style may change this tensor: it moves factors between layers inside a block."""
    return ".conv" in name or ".sft" in name or ".cat" in name


def _run(model: ComparedModel, against: ComparedModel, case: Case, folder: Path) -> Mapping[str, Array]:
    facts = model.graph
    if model.engine:
        engine = model.engine
        session = RunnerSession(_rebuilt(engine), engine.manifest.model, model.path, engine.facts)
    elif facts is None:
        assert model.checkpoint is not None
        strips = against.graph is not None and options_of(against.graph).strips  # then tensors there are strips
        plain = GraphOptions(fold_styles=False, phase_upsampling=False, strips=strips)
        facts = model_facts(model.checkpoint, plain)
        save_graph(model.checkpoint, plain, folder / "plain.onnx")
        session = RunnerSession(onnx_runner(folder / "plain.onnx", all_tensors=True), facts, model.path)
    else:
        onnx = model.runnable(against, folder)
        session = RunnerSession(onnx_runner(onnx, all_tensors=True), facts, model.path)
    with session:
        dtype = session.info.dtype
        return session.outputs(case.lr.astype(dtype), case.t_map.astype(dtype))


def _rebuilt(engine: EngineFile) -> Any:
    """A runner for the engine's graph, built again with all tensors as outputs."""
    onnx = engine.path.with_name(engine.manifest.onnx.file)
    if not is_intact(engine.path.parent, engine.manifest.onnx):
        raise UsageError(f"{engine.path}: {onnx.name}, which it was built from, is missing or has changed")
    backend = claim_backend(engine)
    return backend.TrtRunner(backend.EngineFromNetwork(*layerwise_network(backend, onnx, engine.facts)))


def layerwise_network(backend: Any, onnx: Path, facts: EngineFacts) -> tuple[Any, Any]:
    """Polygraphy's loaders for a network with all tensors as outputs, and for its build configuration."""
    from polygraphy import constants

    parsed = backend.NetworkFromOnnxPath(str(onnx), strongly_typed=True)
    profiles = []
    for each in facts.profiles:
        profile = backend.Profile()
        for name, sizes in each.inputs.items():
            profile.add(name, sizes.min, sizes.opt, sizes.max)
        profiles.append(profile)
    return backend.ModifyNetworkOutputs(parsed, outputs=constants.MARK_ALL), backend.CreateConfig(profiles=profiles)
