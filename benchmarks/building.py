"""What building an engine takes, and what the builder says that running it will take, over sizes and options."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fxsr.benchmarks.engines import random_checkpoint
from fxsr.errors import ModelFileError
from fxsr.export import EngineRequest, ExportRequest, export_model
from fxsr.export.engine.profiles import parse_tiles
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.checkpoint import save_checkpoint
from fxsr.models.config import NetworkConfig
from fxsr.models.manifest import Flavour


@dataclass(frozen=True)
class Variant:
    """One engine to build."""

    name: str
    graph: GraphOptions
    tile: int | None = None
    shapes: str | None = None
    batch: str = "1"


@dataclass(frozen=True)
class Cost:
    """What a builder reported of it."""

    nb: int
    variant: str
    seconds: float | None
    """Of the whole export, the check of half precision included. None: it could not be built."""
    build_seconds: float | None = None
    """Of the builder alone."""
    plan_mb: float | None = None
    weights_mb: float | None = None
    map_mb: float | None = None
    """Activation memory with a style map."""
    uniform_mb: float | None = None
    """The same with one style."""


HALF = GraphOptions("fp16")
COLUMNS = ("nb", "engine", "export s", "build s", "plan MB", "weights MB", "map MB", "uniform MB")
VARIANTS = (
    Variant("fp16, 256", HALF),
    Variant("bf16, 256", GraphOptions("bf16")),
    Variant("fp32, 256", GraphOptions()),
    Variant("fp16, uint8, 256", replace(HALF, io="uint8")),
    Variant("fp16, packed, 256", replace(HALF, packed=True)),
    Variant("fp16, t baked, 256", replace(HALF, baked_t=0.8)),
    Variant("fp16, upsampling not in phases, 256", replace(HALF, phase_upsampling=False)),
    Variant("fp16, not in strips, 256", replace(HALF, strips=False)),
    Variant("fp16, 128", HALF, tile=128),
    Variant("fp16, 512", HALF, tile=512),
    Variant("fp16, 64..256, tuned for 256", HALF, shapes="64x64,256x256,256x256"),
    Variant("fp16, 64..256, tuned for 128", HALF, shapes="64x64,128x128,256x256"),
    Variant("fp16, 64..256, tuned for 64", HALF, shapes="64x64,64x64,256x256"),
    Variant("fp16, batch 4, 256", HALF, batch="4"),
)


def measure_builds(nb: int, variants: Sequence[Variant], flavour: Flavour, tell: Callable[[str], None]) -> list[Cost]:
    """Build every variant of a network of `nb` blocks and otherwise published size, with random weights."""
    costs = []
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "network.safetensors"
        save_checkpoint(checkpoint, random_checkpoint(NetworkConfig(nb=nb)))
        for variant in variants:
            tell(f"nb {nb}, {variant.name}")
            tiles = parse_tiles(variant.tile, variant.shapes, variant.batch)
            request = ExportRequest(
                checkpoint,
                Path(folder) / "engines",
                variant.graph,
                EngineRequest(flavour, tiles),
                check=False,
                force=True,
            )
            costs.append(_cost(nb, variant.name, request))
    return costs


def cells(cost: Cost) -> list[str]:
    """A row as text, under `COLUMNS`."""
    figures = (
        cost.seconds,
        cost.build_seconds,
        cost.plan_mb,
        cost.weights_mb,
        cost.map_mb,
        cost.uniform_mb,
    )
    return [str(cost.nb), cost.variant, *("" if each is None else f"{each:.0f}" for each in figures)]


def _cost(nb: int, name: str, request: ExportRequest) -> Cost:
    begin = time.perf_counter()
    try:
        exported = export_model(request)
    except ModelFileError:
        return Cost(nb, name, None)
    taken = time.perf_counter() - begin
    engine = exported.manifest.engines[-1]
    memory = {profile.name: profile.activation_bytes for profile in engine.profiles}
    return Cost(
        nb,
        name,
        taken,
        engine.seconds,
        engine.file.bytes / 1e6,
        _mega(engine.weight_bytes),
        _mega(memory.get("map")),
        _mega(memory.get("uniform") or memory.get("image")),
    )


def _mega(size: int | None) -> float | None:
    return None if size is None else size / 1e6
