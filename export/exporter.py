"""A checkpoint in, files out: `NAME.onnx` and its manifest `NAME.json`, verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fxsr.checkpoint import Checkpoint, load_checkpoint
from fxsr.errors import ModelFileError, UsageError
from fxsr.export.graph import GraphOptions, emit_graph, model_facts
from fxsr.export.verify import verify
from fxsr.extras import needs
from fxsr.files import atomic_path, sha256
from fxsr.manifest import FileFacts, Manifest, Verification, model_stem, write_manifest
from fxsr.runtime.ort import OrtSession
from fxsr.runtime.reference import TorchSession
from fxsr.runtime.session import Device


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    onnx: Path
    manifest_path: Path
    manifest: Manifest


def export_model(
    checkpoint_path: Path,
    out: Path,
    options: GraphOptions,
    scale: int | None = None,
    name: str | None = None,
    check: bool = True,
    tell: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Write a checkpoint's ONNX file and manifest.

    Args:
        checkpoint_path: the checkpoint.
        out: folder to write to; made as needed.
        options: how to write the graph.
        scale: what the caller believes the checkpoint's scale to be; None asks nothing.
        name: model name; None takes the checkpoint's.
        check: verify the ONNX file against the checkpoint.
        tell: called with each step's name as it begins.

    Returns:
        What was written; `manifest.verification.passed` says whether the check held.

    Raises:
        UsageError: `scale` is not the checkpoint's.
        CheckpointError, FxsrError: it can't be read or written.
        MissingExtraError: a package for exporting is not installed.
    """
    tell("reading the checkpoint")
    checkpoint = load_checkpoint(checkpoint_path)
    if scale is not None and scale != checkpoint.config.scale:
        raise UsageError(f"{checkpoint_path} is a x{checkpoint.config.scale} model, not x{scale}; leave out --scale")
    if name is not None:
        checkpoint = replace(checkpoint, about=replace(checkpoint.about, name=name))
    facts = model_facts(checkpoint, options)
    target = out / f"{model_stem(facts)}.onnx"
    tell("writing the graph")
    write_onnx(checkpoint, options, target)
    verification = None
    if check:
        tell("verifying it against the checkpoint")
        verification = _verify(checkpoint, target, options)
    onnx = FileFacts(target.name, sha256(target), target.stat().st_size)
    manifest = Manifest(facts, onnx, verification)
    manifest_path = target.with_suffix(".json")
    write_manifest(manifest_path, manifest)
    return Exported(target, manifest_path, manifest)


def write_onnx(checkpoint: Checkpoint, options: GraphOptions, path: Path) -> None:
    """Write the graph and let ONNX's own checker and shape inference look at it."""
    with needs("export"):
        import onnx.checker
        import onnx.shape_inference
        import onnx_ir as ir
    with atomic_path(path) as temporary:
        ir.save(emit_graph(checkpoint, options), temporary)
        try:
            onnx.checker.check_model(str(temporary), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelFileError(f"{path}: the graph is not valid ONNX ({error}); this is a fault of fxsr") from error


def _verify(checkpoint: Checkpoint, onnx: Path, options: GraphOptions) -> Verification:
    cpu = Device("cpu")
    with TorchSession(checkpoint, cpu) as reference, OrtSession(onnx, cpu) as exported:
        return verify(reference, exported, options.precision, options.compact)
