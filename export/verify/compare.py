"""Comparing files: a checkpoint, the ONNX file made of it and the engines made of that, each with the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import FxsrError, UnavailableError, UsageError
from fxsr.export.graph.graph import options_of, save_graph
from fxsr.export.lock import alone_in
from fxsr.export.verify.cases import Material, Shapes, make_cases
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

Photos = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class ComparedModel:
    """A file that is compared: a checkpoint, a graph, or an engine and the graph that it was built from."""

    path: Path
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    graph: ModelFacts | None = None
    """None: a checkpoint."""
    engine: EngineFile | None = None

    @property
    def scale(self) -> int:
        return self.graph.scale if self.graph else self._weights.config.scale

    @property
    def baked_t(self) -> float | None:
        return self.graph.baked_t if self.graph else None

    @property
    def rounds(self) -> bool:
        """Whether it takes and gives integers."""
        return self.graph is not None and self.graph.io == "uint8"

    @contextmanager
    def session(self, against: ComparedModel) -> Iterator[Session]:
        """It, ready to be compared with another.

        Raises:
            FxsrError: it can't be run here.
        """
        with TemporaryDirectory() as folder, self._open(against, Path(folder)) as session:
            # a graph of integers takes t in steps of 1/255 and clamps pixels: so must what it is compared with
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
        """An ONNX file of this graph for ONNX Runtime's CPU, which has no convolutions in bfloat16."""
        if self.graph is None or self.graph.precision != "bf16":
            return self.path
        path = folder / self.path.name
        save_graph(self._origin(against), replace(options_of(self.graph), emulate=True), path)
        return path

    def _origin(self, against: ComparedModel) -> Checkpoint:
        assert self.graph is not None
        if against.checkpoint and against.checkpoint.digest == self.graph.checkpoint_sha256:
            return against.checkpoint
        if (found := _bundled(self.graph)) is not None:
            return load_checkpoint(found)
        raise UsageError(f"{self.path}: in bfloat16 it can only be compared with the checkpoint that it was made of")


@dataclass(frozen=True)
class Comparison:
    """How a file compared with the first."""

    reference: Path
    other: Path
    verification: Verification | None = None
    obstacle: UnavailableError | None = None
    """Why it could not be compared here."""


def compare_files(
    subjects: Sequence[ComparedModel], photos: Photos, tell: Callable[[str], None] = lambda text: None
) -> list[Comparison]:
    """Compare files with the first of them.

    What is measured goes into the manifest beside a file that was made of the first.

    Args:
        subjects: of `read_models`.
        photos: what to compare them on.
        tell: hears of each comparison as it begins.

    Returns:
        One for each file but the first.

    Raises:
        FxsrError: one can't be run, for another reason than what this machine lacks.
    """
    first, *others = subjects
    found = []
    for other in others:
        tell(f"{other.path} against {first.path}")
        try:
            verification = compare(first, other, photos)
        except UnavailableError as error:
            found.append(Comparison(first.path, other.path, obstacle=error))
            continue
        _record(first, other, verification)
        found.append(Comparison(first.path, other.path, verification))
    return found


def compare(reference: ComparedModel, other: ComparedModel, photos: Photos) -> Verification:
    """Compare two files on photos, in shapes that both take."""
    pair = (reference, other)
    graphs = [subject.graph for subject in pair if subject.graph]
    engines = [subject.engine for subject in pair if subject.engine]
    limit = threshold(*graphs, engine=bool(engines))
    baked_t = next((subject.baked_t for subject in pair if subject.baked_t is not None), None)
    shapes = engine_shapes(engines[-1]) if engines else Shapes()
    for engine in engines:
        claim_backend(engine)
    with reference.session(other) as first, other.session(reference) as second:
        return verify(first, second, limit, make_cases(Material(photos, baked_t), shapes))


def read_models(files: Sequence[str]) -> list[ComparedModel]:
    """What files are, ready to be compared with the first; before a single one comes what it was made of.

    Args:
        files: checkpoints, `.onnx` files, engines, names of bundled models.

    Raises:
        UsageError: no such file, or they can't be compared with each other.
        CheckpointError, ModelFileError: one is damaged.
    """
    subjects = [_read(file) for file in files]
    if len(subjects) == 1:
        subjects.insert(0, _origin(subjects[0]))
    first, *others = subjects
    for other in others:
        _check_comparable(first, other)
    return subjects


def _read(file: str) -> ComparedModel:
    found = find_model(file, ModelFileKind.CHECKPOINT, ModelFileKind.ONNX, ModelFileKind.ENGINE)
    path = found.path
    if found.kind is ModelFileKind.CHECKPOINT:
        return ComparedModel(path, load_checkpoint(path))
    if found.kind is ModelFileKind.ONNX:
        return ComparedModel(path, graph=read_facts(path))
    engine = read_engine(path)
    return ComparedModel(path, graph=engine.manifest.model, engine=engine)


def _origin(subject: ComparedModel) -> ComparedModel:
    """What a file was made of, if that is at hand: an engine's ONNX file beside it, a bundled model's checkpoint."""
    if subject.engine:
        onnx = subject.engine.manifest.onnx
        if not is_intact(subject.path.parent, onnx):
            raise UsageError(f"{subject.path}: {onnx.file}, which it was built from, is not beside it as it was")
        return _read(str(subject.path.with_name(onnx.file)))
    found = _bundled(subject.graph) if subject.graph else None
    if found is None:
        raise UsageError(f"{subject.path}: give what to compare it with as well: fxsr verify CHECKPOINT {subject.path}")
    return _read(str(found))


def engine_shapes(engine: EngineFile) -> Shapes:
    """The largest and smallest sizes and batches that an engine takes."""
    image = engine.manifest.model.inputs[0]
    sizes = engine.facts.profiles[0].inputs[image.name]
    number, height, width = (image.layout.index(axis) for axis in "NHW")
    ends = (sizes.max, sizes.min)
    return Shapes(
        tuple(dict.fromkeys((shape[height], shape[width]) for shape in ends)),
        tuple(dict.fromkeys(shape[number] for shape in reversed(ends))),
    )


def _bundled(graph: ModelFacts) -> Path | None:
    """The bundled checkpoint that a graph was made of."""
    paths = (bundled_file(name, ".safetensors") for name in bundled_models())
    return next((path for path in paths if sha256(path) == graph.checkpoint_sha256), None)


def _check_comparable(first: ComparedModel, other: ComparedModel) -> None:
    if first.scale != other.scale:
        raise UsageError(f"{other.path} is x{other.scale}, {first.path} x{first.scale}: they can't be compared")
    if None not in (first.baked_t, other.baked_t) and first.baked_t != other.baked_t:
        raise UsageError(f"{other.path} is fixed at t = {other.baked_t}, {first.path} at {first.baked_t}")


def _record(first: ComparedModel, other: ComparedModel, verification: Verification) -> None:
    """Into the manifest beside `other`, if it is of `first`. A folder that can't be written keeps the old one."""
    graph = other.graph
    if graph is None:
        return
    path = manifest_path(other.path)
    with suppress(FxsrError), alone_in(path.parent):
        if not path.is_file():
            return
        manifest = read_manifest(path)  # as it is now: other results may have come in
        if other.engine:
            facts = other.engine.facts
            made_of = first.checkpoint.digest if first.checkpoint else sha256(first.path)
            if made_of in (graph.checkpoint_sha256, facts.onnx_sha256):
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
