"""What an export is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fxsr.export.engine.request import EngineRequest
from fxsr.export.graph.graph import GraphOptions


@dataclass(frozen=True)
class ExportRequest:
    """What to make of a checkpoint."""

    checkpoint: Path
    out: Path
    """Folder to write to; made as needed."""
    graph: GraphOptions = field(default_factory=GraphOptions)
    engine: EngineRequest | None = None
    """The engine to build from the ONNX file. None: none."""
    scale: int | None = None
    """What the caller believes the checkpoint's scale to be. None asks nothing."""
    name: str | None = None
    """Model name. None takes the checkpoint's."""
    check: bool = True
    """Verify the ONNX file against the checkpoint."""
    images: tuple[Path, ...] = ()
    """Photos, and folders of them, to verify it on beside the bundled ones."""
    esrgan: bool = False
    """With a baked style: also write the weights of a plain ESRGAN."""
    force: bool = False
    """Write anew what is there and up to date."""
