"""A checkpoint in, files out: `NAME.onnx`, an engine if asked for, and their manifest `NAME.json`, verified."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fxsr.errors import MissingExtraError, ModelFileError, UnavailableError, UsageError
from fxsr.export.engine.builder import BuildEvent
from fxsr.export.engine.engine import build_engine
from fxsr.export.esrgan import write_esrgan
from fxsr.export.graph.graph import GraphOptions, model_facts, save_graph
from fxsr.export.lock import alone_in
from fxsr.export.request import ExportRequest
from fxsr.export.reuse import engines_of, find_engine, find_graph
from fxsr.export.verify.cases import bundled_photos, read_photos
from fxsr.export.verify.compare import ComparedModel, compare
from fxsr.export.verify.precision import choose_precision
from fxsr.extras import needs
from fxsr.files import atomic_path, sha256
from fxsr.models.checkpoint import Checkpoint, load_checkpoint
from fxsr.models.manifest import EngineFacts, FileFacts, Manifest, model_stem, write_manifest
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile
from fxsr.runtime.machine.gpu import find_gpus

_FILE_NAME = re.compile(r"(?!\.\.?$)[^/\\:\x00-\x1f\x7f\ud800-\udfff]{1,200}")
"""A checkpoint says its name itself, and where files are written to is not for it to say."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote, or found already written."""

    onnx: Path
    manifest_path: Path
    manifest: Manifest
    engine: Path | None = None
    reused: tuple[str, ...] = ()
    """Names of files that were up to date."""
    lost: tuple[str, ...] = ()
    """Names of engines that can't be used any more: they were built from a graph that was here before."""

    @property
    def failed(self) -> bool:
        """Whether the graph or the engine does not agree with what it was made of."""
        engines = (each for each in self.manifest.engines if self.engine and each.file.file == self.engine.name)
        found = [self.manifest.verification, *(each.verification for each in engines)]
        return any(each is not None and not each.passed for each in found)


def export_model(request: ExportRequest, tell: Callable[[BuildEvent], None] = lambda news: None) -> ExportResult:
    """Write a checkpoint's ONNX file, an engine, and their manifest. What is there and up to date stays.

    Args:
        request: what to make of it.
        tell: hears of each step as it begins, and of what the engine's builder logs.

    Returns:
        What there is now; `manifest.verification.passed` says whether the check held. If not, no engine was built.

    Raises:
        UsageError: the checkpoint is not what `request` says, or can't become that.
        CheckpointError, FxsrError: it can't be read or written.
        ModelFileError: no engine can be built from it.
        MissingExtraError, UnavailableError: a package for exporting is not installed.
    """

    def step(text: str) -> None:
        tell(BuildEvent("phase", text))

    if request.engine:
        request = replace(request, graph=request.graph.for_engine())
    with alone_in(request.out, step):
        if request.check and importlib.util.find_spec("onnxruntime") is None:  # better to know before the work
            raise MissingExtraError("onnxruntime", "cpu")
        lost: tuple[str, ...] = ()
        if found := find_graph(request):
            target, manifest = found
        else:
            target, manifest, lost = _export_graph(request, step)
        reused: tuple[str, ...] = (target.name,) if found else ()
        manifest_path = target.with_suffix(".json")
        failed = manifest.verification is not None and not manifest.verification.passed
        if request.engine is None or failed:
            return ExportResult(target, manifest_path, manifest, reused=reused, lost=lost)
        facts = find_engine(manifest, request)
        if facts:
            reused += (facts.file.file,)
        else:
            step(f"building the {request.engine.flavour} engine")
            facts = build_engine(target, manifest.model, request.engine, tell)
            others = [each for each in manifest.engines if each.file.file != facts.file.file]
            manifest = replace(manifest, engines=(*others, facts))
            write_manifest(manifest_path, manifest)
        engine = request.out / facts.file.file
        if request.check and facts.verification is None and find_gpus():
            manifest = _check_engine(target, engine, manifest, facts, step)
            write_manifest(manifest_path, manifest)
        lost = tuple(name for name in lost if name != engine.name)
        return ExportResult(target, manifest_path, manifest, engine, reused, lost)


def write_onnx(checkpoint: Checkpoint, options: GraphOptions, path: Path) -> None:
    """Write the graph and let ONNX's own checker and shape inference look at it."""
    with needs("export"):
        import onnx.checker
        import onnx.shape_inference
    with atomic_path(path) as temporary:
        save_graph(checkpoint, options, temporary)
        try:
            onnx.checker.check_model(str(temporary), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelFileError(f"{path}: the graph is not valid ONNX ({error}); this is a fault of fxsr") from error


def _export_graph(request: ExportRequest, step: Callable[[str], None]) -> tuple[Path, Manifest, tuple[str, ...]]:
    """The graph's path and manifest, and the names of engines that were lost with the one before."""
    step("reading the checkpoint")
    checkpoint = load_checkpoint(request.checkpoint)
    scale = checkpoint.config.scale
    if request.scale not in (None, scale):
        raise UsageError(f"{request.checkpoint} is a x{scale} model, not x{request.scale}; leave out --scale")
    if request.name is not None:
        checkpoint = replace(checkpoint, about=replace(checkpoint.about, name=request.name))
    if not _FILE_NAME.fullmatch(checkpoint.about.name):
        raise UsageError(f"{checkpoint.about.name!r} is no name for files; name the model otherwise: --name")
    photos = bundled_photos() | read_photos(request.images) if request.check else {}
    step("trying the precision")
    settled = choose_precision(checkpoint, request.graph, step)
    facts = model_facts(checkpoint, settled.options)
    target = request.out / f"{model_stem(facts)}.onnx"
    manifest_path = target.with_suffix(".json")
    esrgan = None
    if request.esrgan and facts.baked_t is not None:
        esrgan = write_esrgan(checkpoint, facts.baked_t, target.with_name(f"{target.stem}-esrgan.pth"))
    step("writing the graph")
    write_onnx(checkpoint, settled.options, target)
    verification = None
    if request.check:
        step("verifying it against the checkpoint")
        source, graph = ComparedModel(request.checkpoint, checkpoint), ComparedModel(target, graph=facts)
        verification = compare(source, graph, photos)
    onnx = FileFacts(target.name, sha256(target), target.stat().st_size)
    engines, lost = engines_of(manifest_path, onnx)
    manifest = Manifest(facts, onnx, verification, engines, esrgan, settled.reasons)
    write_manifest(manifest_path, manifest)
    return target, manifest, lost


def _check_engine(
    onnx: Path, engine: Path, manifest: Manifest, facts: EngineFacts, step: Callable[[str], None]
) -> Manifest:
    """The manifest with how the engine compares with its graph, if this machine can run it."""
    step("verifying the engine against the graph")
    graph = ComparedModel(onnx, graph=manifest.model)
    built = ComparedModel(engine, graph=manifest.model, engine=EngineFile(engine, manifest, facts))
    photos = dict(islice(bundled_photos().items(), 1))  # the graph had them all; tiles may be large
    try:
        checked = replace(facts, verification=compare(graph, built, photos))
    except UnavailableError as error:  # such as an engine for other GPUs
        step(f"not verified: {error}")
        return manifest
    return replace(manifest, engines=tuple(checked if each == facts else each for each in manifest.engines))
