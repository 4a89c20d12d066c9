"""The request for an export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fxsr.export.engine.request import EngineRequest
from fxsr.export.graph.graph import GraphOptions


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how."""

    checkpoint: Path
    out: Path
    """Folder to write to. It is created if it does not exist."""
    graph: GraphOptions = field(default_factory=GraphOptions)
    engine: EngineRequest | None = None
    """The engine to build from the ONNX file. None: build none."""
    scale: int | None = None
    """The scale that the checkpoint must have. None: any."""
    name: str | None = None
    """Model name. None: the checkpoint's own."""
    check: bool = True
    """Verify the ONNX file against the checkpoint."""
    images: tuple[Path, ...] = ()
    """Photos, and folders of photos, to verify on in addition to the bundled ones."""
    esrgan: bool = False
    """With a fixed style: also write the weights of a plain ESRGAN."""
    force: bool = False
    """Write everything again, even what is up to date."""
