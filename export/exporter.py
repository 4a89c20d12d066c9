"""Exports a checkpoint: `NAME.onnx`, optionally an engine, and the manifest `NAME.json`, verified."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fxsr.errors import CheckpointError, MissingExtraError, ModelFileError, UnavailableError, UsageError
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
from fxsr.models.file import manifest_path
from fxsr.models.manifest import EngineFacts, FileFacts, Manifest, model_stem, write_manifest
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile
from fxsr.runtime.machine.gpu import find_gpus

_FILE_NAME = re.compile(r"(?!\.\.?$)[^/\\:\x00-\x1f\x7f\ud800-\udfff]{1,200}")
"""Names that may be used for files. A checkpoint states its own name, and must not choose where files are written."""


@dataclass(frozen=True)
class ExportResult:
    """The files of an export, whether it wrote them or found them up to date."""

    onnx: Path
    manifest_path: Path
    manifest: Manifest
    engine: Path | None = None
    reused: tuple[str, ...] = ()
    """Names of files that were up to date."""
    lost: tuple[str, ...] = ()
    """Names of engines that are no longer usable, since they were built from the graph that was replaced."""
    engine_not_run: str | None = None
    """Why the engine was not compared with its graph, although this was asked for. None: it was, or there is none."""

    @property
    def failed(self) -> bool:
        """Whether the graph or the engine disagrees with what it was made from."""
        engines = (each for each in self.manifest.engines if self.engine and each.file.file == self.engine.name)
        verifications = [self.manifest.verification, *(each.verification for each in engines)]
        return any(each is not None and not each.passed for each in verifications)


def export_model(request: ExportRequest, on_event: Callable[[BuildEvent], None] = lambda event: None) -> ExportResult:
    """Write a checkpoint's ONNX file, an engine, and their manifest. Files that are up to date stay as they are.

    Args:
        request: what to export, and how.
        on_event: called at the beginning of each step, and with every message of the engine's builder.

    Returns:
        The files. `manifest.verification.passed` says whether the graph agrees with the checkpoint; if it does not, no
        engine is built.

    Raises:
        UsageError: the checkpoint is not what `request` says, or can't be exported that way.
        CheckpointError, FxsrError: it can't be read, or files can't be written.
        ModelFileError: no engine can be built from it.
        MissingExtraError, UnavailableError: a package for exporting is not installed.
    """

    def step(text: str) -> None:
        on_event(BuildEvent("phase", text))

    if request.engine:
        request = replace(request, graph=request.graph.for_engine())
    with alone_in(request.out, step):
        if request.check and importlib.util.find_spec("onnxruntime") is None:  # before any long work
            raise MissingExtraError("onnxruntime", "cpu")
        if not request.checkpoint.is_file():
            raise CheckpointError(f"{request.checkpoint}: no such file")
        digest = sha256(request.checkpoint)
        lost: tuple[str, ...] = ()
        if found := find_graph(request, digest):
            onnx, manifest = found
        else:
            onnx, manifest, lost = _export_graph(request, digest, step)
        reused: tuple[str, ...] = (onnx.name,) if found else ()
        failed = manifest.verification is not None and not manifest.verification.passed
        if request.engine is None or failed:
            return ExportResult(onnx, manifest_path(onnx), manifest, reused=reused, lost=lost)
        facts = find_engine(manifest, request)
        if facts:
            reused += (facts.file.file,)
        else:
            step(f"building the {request.engine.flavour} engine")
            facts = build_engine(onnx, manifest, request.engine, on_event)
            others = [each for each in manifest.engines if each.file.file != facts.file.file]
            manifest = replace(manifest, engines=(*others, facts))
            write_manifest(manifest_path(onnx), manifest)
        engine = request.out / facts.file.file
        not_run = None
        if request.check and facts.verification is None:
            not_run = "no GPU here"
            if find_gpus():
                source = load_checkpoint(request.checkpoint, digest) if manifest.model.precision == "bf16" else None
                graph = ComparedModel(onnx, source, manifest.model)
                manifest, not_run = _check_engine(graph, engine, manifest, facts, step)
                write_manifest(manifest_path(onnx), manifest)
        lost = tuple(name for name in lost if name != engine.name)
        return ExportResult(onnx, manifest_path(onnx), manifest, engine, reused, lost, not_run)


def write_onnx(checkpoint: Checkpoint, options: GraphOptions, path: Path) -> None:
    """Write a checkpoint's graph to a file, and run ONNX's checker and shape inference on it.

    Raises:
        ModelFileError: the graph is invalid, which is a fault of fxsr.
        FxsrError: the file can't be written.
    """
    with needs("export"):
        import onnx.checker
        import onnx.shape_inference
    with atomic_path(path) as temporary:
        save_graph(checkpoint, options, temporary)
        try:
            onnx.checker.check_model(str(temporary), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelFileError(f"{path}: the graph is not valid ONNX ({error}); this is a fault of fxsr") from error


def _export_graph(
    request: ExportRequest, digest: str, step: Callable[[str], None]
) -> tuple[Path, Manifest, tuple[str, ...]]:
    """Write the graph and its manifest. Returns the graph's path, the manifest, and the names of engines that were lost
    with the previous graph."""
    step("reading the checkpoint")
    checkpoint = load_checkpoint(request.checkpoint, digest)
    if checkpoint.config.user_code:
        raise UsageError(f"{request.checkpoint}: its trunk is code of a user; graphs are written of rrdb and rb only")
    scale = checkpoint.config.scale
    if request.scale not in (None, scale):
        raise UsageError(f"{request.checkpoint} is a x{scale} model, not x{request.scale}; leave out --scale")
    if request.name is not None:
        checkpoint = replace(checkpoint, about=replace(checkpoint.about, name=request.name))
    if not _FILE_NAME.fullmatch(checkpoint.about.name):
        raise UsageError(f"{checkpoint.about.name!r} can't be used in file names; give the model another --name")
    photos = bundled_photos() | read_photos(request.images) if request.check else {}
    step("trying the precision")
    choice = choose_precision(checkpoint, request.graph, step)
    facts = model_facts(checkpoint, choice.options)
    target = request.out / f"{model_stem(facts)}.onnx"
    esrgan = None
    if request.esrgan and facts.baked_t is not None:
        esrgan = write_esrgan(checkpoint, facts.baked_t, target.with_name(f"{target.stem}-esrgan.pth"))
    step("writing the graph")
    write_onnx(checkpoint, choice.options, target)
    verification = None
    if request.check:
        step("verifying it against the checkpoint")
        source, graph = ComparedModel(request.checkpoint, checkpoint), ComparedModel(target, graph=facts)
        verification = compare(source, graph, photos)
    onnx = FileFacts(target.name, sha256(target), target.stat().st_size)
    engines, lost = engines_of(manifest_path(target), onnx)
    manifest = Manifest(facts, onnx, verification, engines, esrgan, choice.reasons)
    write_manifest(manifest_path(target), manifest)
    return target, manifest, lost


def _check_engine(
    graph: ComparedModel, engine: Path, manifest: Manifest, facts: EngineFacts, step: Callable[[str], None]
) -> tuple[Manifest, str | None]:
    """Compare the engine with its graph, if this machine can run it. Returns the manifest with the result, and why it
    was not run.

    Args:
        graph: in bfloat16 with its checkpoint, of which ONNX Runtime runs another graph.
    """
    step("verifying the engine against the graph")
    compiled = ComparedModel(engine, graph=manifest.model, engine=EngineFile(engine, manifest, facts))
    photos = dict(islice(bundled_photos().items(), 1))  # the graph was verified on all; tiles may be large
    try:
        checked = replace(facts, verification=compare(graph, compiled, photos))
    except UnavailableError as error:  # such as an engine for other GPUs
        return manifest, str(error)
    return replace(manifest, engines=tuple(checked if each == facts else each for each in manifest.engines)), None
