"""Compares model files (a checkpoint, its ONNX file and engines), each with the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import FxsrError, UnavailableError, UsageError
from fxsr.export.graph.graph import options_of, save_graph
from fxsr.export.lock import alone_in
from fxsr.export.verify.cases import CaseShapes, make_cases
from fxsr.export.verify.runners import RunnerSession, claim_backend, engine_runner, onnx_runner
from fxsr.export.verify.verify import ByteSession, threshold, verify
from fxsr.files import sha256
from fxsr.models.bundled import bundled_file, bundled_models
from fxsr.models.checkpoint import Checkpoint, load_checkpoint
from fxsr.models.file import ModelFileKind, find_model, manifest_path
from fxsr.models.manifest import ModelFacts, Verification, is_intact, read_manifest, write_manifest
from fxsr.runtime.backends.onnxruntime import OrtSession, read_facts
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile, read_engine
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CPU, Session
from fxsr.scratch import scratch_folder

Photos = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class ComparedModel:
    """A model file to compare: a checkpoint, a graph, or an engine with the graph that it was built from."""

    path: Path
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    """The file's contents if it is a checkpoint; of a graph, what it was made from, if that is at hand."""
    graph: ModelFacts | None = None
    """Facts about the graph. None: the file is a checkpoint."""
    engine: EngineFile | None = None

    @property
    def scale(self) -> int:
        return self.graph.scale if self.graph else self._weights.config.scale

    @property
    def baked_t(self) -> float | None:
        return self.graph.baked_t if self.graph else None

    @property
    def rounds(self) -> bool:
        """Whether its inputs and outputs are integers."""
        return self.graph is not None and self.graph.io == "uint8"

    @contextmanager
    def session(self, against: ComparedModel) -> Iterator[Session]:
        """Open it for a comparison with another model.

        Raises:
            FxsrError: it can't run on this machine.
        """
        with scratch_folder() as folder, self._open(against, folder) as session:
            # a graph of integers takes t in steps of 1/255 and clamps pixels, so the other model must do the same
            yield ByteSession(session) if against.rounds and not self.rounds else session

    @property
    def _weights(self) -> Checkpoint:
        assert self.checkpoint is not None
        return self.checkpoint

    def _open(self, against: ComparedModel, folder: Path) -> Session:
        if self.engine:
            return RunnerSession(engine_runner(self.engine), self.engine.manifest.model, self.path, self.engine.facts)
        if self.graph is None:
            return TorchSession(self._weights, CPU)
        path = self.runnable(against, folder)
        return RunnerSession(onnx_runner(path), self.graph, self.path) if against.engine else OrtSession(path, CPU)

    def runnable(self, against: ComparedModel, folder: Path) -> Path:
        """An ONNX file of this graph that ONNX Runtime's CPU provider, which lacks bfloat16 convolutions, can run."""
        if self.graph is None or self.graph.precision != "bf16":
            return self.path
        path = folder / self.path.name
        save_graph(self._source(against), replace(options_of(self.graph), emulate=True), path)
        return path

    def _source(self, against: ComparedModel) -> Checkpoint:
        assert self.graph is not None
        for known in (self.checkpoint, against.checkpoint):
            if known and known.digest == self.graph.checkpoint_sha256:
                return known
        if (found := _bundled(self.graph)) is not None:
            return load_checkpoint(found)
        raise UsageError(
            f"{self.path}: a graph in bfloat16 can only be compared with the checkpoint that it was made from"
        )


@dataclass(frozen=True)
class Comparison:
    """The result of comparing a file with the first."""

    reference: Path
    other: Path
    verification: Verification | None = None
    obstacle: UnavailableError | None = None
    """Why it could not be compared on this machine."""


def compare_files(
    models: Sequence[ComparedModel], photos: Photos, on_step: Callable[[str], None] = lambda text: None
) -> list[Comparison]:
    """Compare files with the first of them.

    The result is saved in the manifest of each file that was made from the first one.

    Args:
        models: the result of `read_models`.
        photos: the photos to compare on.
        on_step: called at the beginning of each comparison.

    Returns:
        One comparison for each file but the first.

    Raises:
        FxsrError: a file can't be run, although this machine has all that it needs.
    """
    first, *others = models
    comparisons = []
    for other in others:
        on_step(f"{other.path} against {first.path}")
        try:
            verification = compare(first, other, photos)
        except UnavailableError as error:
            comparisons.append(Comparison(first.path, other.path, obstacle=error))
            continue
        _record(first, other, verification)
        comparisons.append(Comparison(first.path, other.path, verification))
    return comparisons


def compare(reference: ComparedModel, other: ComparedModel, photos: Photos) -> Verification:
    """Compare two models on photos, in shapes that both take."""
    pair = (reference, other)
    graphs = [model.graph for model in pair if model.graph]
    engines = [model.engine for model in pair if model.engine]
    limit = threshold(*graphs, engine=bool(engines))
    baked_t = next((model.baked_t for model in pair if model.baked_t is not None), None)
    shapes = engine_shapes(engines[-1]) if engines else CaseShapes()
    for engine in engines:
        claim_backend(engine)
    with reference.session(other) as first, other.session(reference) as second:
        return verify(first, second, limit, make_cases(photos, baked_t, shapes))


def read_models(files: Sequence[str]) -> list[ComparedModel]:
    """Read files for a comparison with the first. A single file is preceded by the file that it was made from.

    Args:
        files: checkpoints, `.onnx` files, engines, names of bundled models.

    Raises:
        UsageError: there is no such file, or the files can't be compared with each other.
        CheckpointError, ModelFileError: a file is damaged.
    """
    models = [_read(file) for file in files]
    if len(models) == 1:
        models.insert(0, _source(models[0]))
    first, *others = models
    for other in others:
        _check_comparable(first, other)
    return models


def _read(file: str) -> ComparedModel:
    found = find_model(file, ModelFileKind.CHECKPOINT, ModelFileKind.ONNX, ModelFileKind.ENGINE)
    path = found.path
    if found.kind is ModelFileKind.CHECKPOINT:
        return ComparedModel(path, load_checkpoint(path))
    if found.kind is ModelFileKind.ONNX:
        return ComparedModel(path, graph=read_facts(path))
    engine = read_engine(path)
    return ComparedModel(path, graph=engine.manifest.model, engine=engine)


def _source(model: ComparedModel) -> ComparedModel:
    """The file that a model was made from: an engine's ONNX file next to it, or a bundled checkpoint."""
    if model.engine:
        onnx = model.engine.manifest.onnx
        if not is_intact(model.path.parent, onnx):
            raise UsageError(f"{model.path}: {onnx.file}, which it was built from, is missing or has changed")
        return _read(str(model.path.with_name(onnx.file)))
    found = _bundled(model.graph) if model.graph else None
    if found is None:
        raise UsageError(f"{model.path}: name the file to compare it with, too: fxsr verify CHECKPOINT {model.path}")
    return _read(str(found))


def engine_shapes(engine: EngineFile) -> CaseShapes:
    """The largest and smallest sizes and batches that an engine takes."""
    image = engine.manifest.model.inputs[0]
    sizes = engine.facts.profiles[0].inputs[image.name]
    number, height, width = (image.layout.index(axis) for axis in "NHW")
    ends = (sizes.max, sizes.min)
    return CaseShapes(
        tuple(dict.fromkeys((shape[height], shape[width]) for shape in ends)),
        tuple(dict.fromkeys(shape[number] for shape in reversed(ends))),
    )


def _bundled(graph: ModelFacts) -> Path | None:
    """The bundled checkpoint that a graph was made from. None: it was made from another one."""
    paths = (bundled_file(name, ".safetensors") for name in bundled_models())
    return next((path for path in paths if sha256(path) == graph.checkpoint_sha256), None)


def _check_comparable(first: ComparedModel, other: ComparedModel) -> None:
    if first.scale != other.scale:
        raise UsageError(f"{other.path} is x{other.scale}, {first.path} x{first.scale}: they can't be compared")
    if None not in (first.baked_t, other.baked_t) and first.baked_t != other.baked_t:
        raise UsageError(
            f"{other.path} is fixed at t = {other.baked_t}, {first.path} at {first.baked_t}: they can't be compared"
        )


def _record(first: ComparedModel, other: ComparedModel, verification: Verification) -> None:
    """Save the result in the manifest of `other`, if `other` was made from `first` and its folder can be written to."""
    graph = other.graph
    if graph is None:
        return
    path = manifest_path(other.path)
    if not path.is_file():
        return
    with suppress(FxsrError), alone_in(path.parent):
        manifest = read_manifest(path)  # read it again: another process may have added results
        if other.engine:
            facts = other.engine.facts
            source = first.checkpoint.digest if first.checkpoint else sha256(first.path)
            if source in (graph.checkpoint_sha256, facts.onnx_sha256):
                checked = [
                    replace(each, verification=verification) if each.file == facts.file else each
                    for each in manifest.engines
                ]
                write_manifest(path, replace(manifest, engines=tuple(checked)))
        elif (
            first.checkpoint
            and first.checkpoint.digest == graph.checkpoint_sha256
            and manifest.onnx.file == other.path.name
            and is_intact(path.parent, manifest.onnx)
        ):
            write_manifest(path, replace(manifest, verification=verification))
