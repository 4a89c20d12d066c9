"""What an earlier export left that a new one needn't make again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fxsr.errors import CheckpointError, ModelFileError
from fxsr.export.engine.engine import builder_version, target_gpu
from fxsr.export.engine.profiles import engine_profiles
from fxsr.export.engine.request import EngineRequest
from fxsr.export.graph.graph import GraphOptions, options_of, producer
from fxsr.export.request import ExportRequest
from fxsr.files import sha256
from fxsr.models.checkpoint import own_name
from fxsr.models.manifest import EngineFacts, FileFacts, Manifest, ModelFacts, Profile, is_intact, read_manifest


def find_graph(request: ExportRequest) -> tuple[Path, Manifest] | None:
    """The path of an earlier graph of just this, intact, and its manifest.

    Reads no weights and needs no torch, so that asking again costs nothing.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    if not request.checkpoint.is_file():
        raise CheckpointError(f"{request.checkpoint}: no such file")
    if request.force or request.images or not request.out.is_dir():
        return None
    digest = sha256(request.checkpoint)
    name = own_name(request.checkpoint) if request.name is None else request.name
    for path in sorted(request.out.glob("*.json")):
        manifest = _manifest(path)
        if (
            manifest
            and path.stem == Path(manifest.onnx.file).stem
            and manifest.model.name == name
            and _answers(manifest, request, digest)
            and is_intact(request.out, manifest.onnx)
        ):
            return request.out / manifest.onnx.file, manifest
    return None


def find_engine(manifest: Manifest, request: ExportRequest) -> EngineFacts | None:
    """An earlier engine of just this, intact."""
    engine = request.engine
    if engine is None or request.force:
        return None
    profiles = engine_profiles(manifest.model, engine.tiles)
    for facts in manifest.engines:
        if _is_built_as(facts, engine, manifest.onnx, profiles) and is_intact(request.out, facts.file):
            return facts
    return None


def engines_of(manifest_path: Path, onnx: FileFacts) -> tuple[tuple[EngineFacts, ...], tuple[str, ...]]:
    """Engines in an older manifest that were built from this very graph, which stay what they are; names of others."""
    manifest = _manifest(manifest_path) if manifest_path.is_file() else None
    engines = manifest.engines if manifest else ()
    kept = tuple(each for each in engines if each.onnx_sha256 == onnx.sha256)
    return kept, tuple(each.file.file for each in engines if each not in kept)


def _manifest(path: Path) -> Manifest | None:
    try:
        return read_manifest(path)
    except ModelFileError:  # of something else, or damaged: written anew
        return None


def _answers(manifest: Manifest, request: ExportRequest, digest: str) -> bool:
    facts, verification = manifest.model, manifest.verification
    return (
        facts.checkpoint_sha256 == digest
        and _is_written_as(facts, request.graph, bool(manifest.engines))
        and request.scale in (None, facts.scale)
        and (verification.passed if verification else not request.check)
        and (not request.esrgan or (manifest.esrgan is not None and is_intact(request.out, manifest.esrgan.file)))
    )


def _is_written_as(facts: ModelFacts, options: GraphOptions, has_engines: bool) -> bool:
    """Whether this version of fxsr would write a graph of these facts for `options`.

    As written for an engine it is as good where engines were built from it, which would be lost with it.
    """
    written = options_of(facts)
    if has_engines and written == written.for_engine():
        options = options.for_engine()
    asked = replace(options.settled(), kept_float32=written.kept_float32)  # which follow from the checkpoint
    return asked == written and facts.producer == producer()


def _is_built_as(facts: EngineFacts, request: EngineRequest, onnx: FileFacts, profiles: tuple[Profile, ...]) -> bool:
    asked = (request.flavour, request.options, builder_version(request.flavour), target_gpu(request.flavour))
    found = (facts.flavour, facts.options, facts.builder_version, facts.gpu)
    same_shapes = [profile.inputs for profile in facts.profiles] == [profile.inputs for profile in profiles]
    return asked == found and same_shapes and facts.onnx_sha256 == onnx.sha256
