"""The request for an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fxsr.export.engine.profiles import Tiles
from fxsr.models.manifest import BuildOptions, Flavour


@dataclass(frozen=True)
class EngineRequest:
    """Which engine to build."""

    flavour: Flavour
    tiles: Tiles = field(default_factory=Tiles)
    options: BuildOptions = field(default_factory=BuildOptions)
    timing_cache: Path | None = None
    """File of kernel timings from earlier builds, read and written. TensorRT only."""
