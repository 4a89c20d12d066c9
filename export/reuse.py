"""Finds what an earlier export wrote, so that a new one need not make it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fxsr.errors import ModelFileError, UsageError
from fxsr.export.engine.engine import builder_version, target_gpu
from fxsr.export.engine.profiles import engine_profiles
from fxsr.export.engine.request import EngineRequest
from fxsr.export.graph.graph import GraphOptions, options_of, producer
from fxsr.export.request import ExportRequest
from fxsr.models.checkpoint import own_name
from fxsr.models.manifest import EngineFacts, FileFacts, Manifest, ModelFacts, Profile, is_intact, read_manifest


def find_graph(request: ExportRequest, digest: str) -> tuple[Path, Manifest] | None:
    """Find an intact graph that an earlier export wrote for the same request.

    Reads no weights and needs no torch, so repeating an export is cheap.

    Args:
        request: what to export.
        digest: SHA-256 of the checkpoint.

    Returns:
        The graph's path, and its manifest; None if there is no such graph.
    """
    if request.force or request.images or not request.out.is_dir():
        return None
    name = own_name(request.checkpoint) if request.name is None else request.name
    for path in sorted(request.out.glob("*.json")):
        manifest = _manifest(path)
        if (
            manifest
            and path.stem == Path(manifest.onnx.file).stem
            and manifest.model.name == name
            and _matches(manifest, request, digest)
            and is_intact(request.out, manifest.onnx)
        ):
            return request.out / manifest.onnx.file, manifest
    return None


def find_engine(manifest: Manifest, request: ExportRequest) -> EngineFacts | None:
    """Find an intact engine that an earlier export built for the same request. None: there is none."""
    engine = request.engine
    if engine is None or request.force:
        return None
    profiles = engine_profiles(manifest.model, engine.tiles)
    for facts in manifest.engines:
        if _engine_matches(facts, engine, manifest.onnx, profiles) and is_intact(request.out, facts.file):
            return facts
    return None


def engines_of(manifest_path: Path, onnx: FileFacts) -> tuple[tuple[EngineFacts, ...], tuple[str, ...]]:
    """Engines of the previous manifest.

    Args:
        manifest_path: the manifest, which need not exist.
        onnx: the graph that was just written.

    Returns:
        Engines that were built from an identical graph, which stay valid; and file names of the others.
    """
    manifest = _manifest(manifest_path) if manifest_path.is_file() else None
    engines = manifest.engines if manifest else ()
    kept = tuple(each for each in engines if each.onnx_sha256 == onnx.sha256)
    return kept, tuple(each.file.file for each in engines if each not in kept)


def _manifest(path: Path) -> Manifest | None:
    try:
        return read_manifest(path)
    except ModelFileError:  # another program's file, or a damaged one: it is written again
        return None


def _matches(manifest: Manifest, request: ExportRequest, digest: str) -> bool:
    facts, verification = manifest.model, manifest.verification
    return (
        facts.checkpoint_sha256 == digest
        and _graph_matches(facts, request.graph, bool(manifest.engines))
        and request.scale in (None, facts.scale)
        and (verification.passed if verification else not request.check)
        and (not request.esrgan or (manifest.esrgan is not None and is_intact(request.out, manifest.esrgan.file)))
    )


def _graph_matches(facts: ModelFacts, options: GraphOptions, has_engines: bool) -> bool:
    """Whether this version of fxsr would write a graph with these facts for `options`.

    A graph that was written for an engine counts as well if there are engines, since they would be lost with it.
    """
    try:
        written = options_of(facts)
    except UsageError:  # an edited manifest, whose facts contradict each other: it is written again
        return False
    if has_engines and written == written.for_engine():
        options = options.for_engine()
    wanted = replace(options.normalised(), kept_float32=written.kept_float32)  # these follow from the checkpoint
    return wanted == written and facts.producer == producer()


def _engine_matches(facts: EngineFacts, request: EngineRequest, onnx: FileFacts, profiles: tuple[Profile, ...]) -> bool:
    wanted = (request.flavour, request.options, builder_version(request.flavour), target_gpu(request.flavour))
    found = (facts.flavour, facts.options, facts.builder_version, facts.gpu)
    same_shapes = [profile.inputs for profile in facts.profiles] == [profile.inputs for profile in profiles]
    return wanted == found and same_shapes and facts.onnx_sha256 == onnx.sha256
