"""Measures build times of engines, and the memory that the builder reports, for several sizes and options."""

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
class EngineVariant:
    """One engine to build."""

    name: str
    graph: GraphOptions
    tile: int | None = None
    shapes: str | None = None
    batch: str = "1"


@dataclass(frozen=True)
class BuildCost:
    """What building one engine took, and what the builder reported."""

    nb: int
    variant: str
    seconds: float | None
    """Duration of the whole export, including the choice of precision. None: the engine could not be built."""
    build_seconds: float | None = None
    """Duration of the build alone."""
    plan_mb: float | None = None
    weights_mb: float | None = None
    map_mb: float | None = None
    """Memory for activations with a style map."""
    uniform_mb: float | None = None
    """Memory for activations with one style."""


HALF = GraphOptions("fp16")
COLUMNS = ("nb", "engine", "export s", "build s", "plan MB", "weights MB", "map MB", "uniform MB")
ENGINE_VARIANTS = (
    EngineVariant("fp16, 256", HALF),
    EngineVariant("bf16, 256", GraphOptions("bf16")),
    EngineVariant("fp32, 256", GraphOptions()),
    EngineVariant("fp16, uint8, 256", replace(HALF, io="uint8")),
    EngineVariant("fp16, packed, 256", replace(HALF, packed=True)),
    EngineVariant("fp16, t baked, 256", replace(HALF, baked_t=0.8)),
    EngineVariant("fp16, upsampling not in phases, 256", replace(HALF, phase_upsampling=False)),
    EngineVariant("fp16, not in strips, 256", replace(HALF, strips=False)),
    EngineVariant("fp16, 128", HALF, tile=128),
    EngineVariant("fp16, 512", HALF, tile=512),
    EngineVariant("fp16, 64..256, tuned for 256", HALF, shapes="64x64,256x256,256x256"),
    EngineVariant("fp16, 64..256, tuned for 128", HALF, shapes="64x64,128x128,256x256"),
    EngineVariant("fp16, 64..256, tuned for 64", HALF, shapes="64x64,64x64,256x256"),
    EngineVariant("fp16, batch 4, 256", HALF, batch="4"),
)


def measure_builds(
    nb: int, variants: Sequence[EngineVariant], flavour: Flavour, on_step: Callable[[str], None]
) -> list[BuildCost]:
    """Build all variants of a network with `nb` blocks, otherwise of the published size, and random weights.

    Args:
        nb: blocks of the network.
        variants: the engines to build.
        flavour: the builder.
        on_step: called before each build.
    """
    costs = []
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "network.safetensors"
        save_checkpoint(checkpoint, random_checkpoint(NetworkConfig(nb=nb)))
        for variant in variants:
            on_step(f"nb {nb}, {variant.name}")
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


def cells(cost: BuildCost) -> list[str]:
    """A row of the table as text, in the order of `COLUMNS`."""
    figures = (
        cost.seconds,
        cost.build_seconds,
        cost.plan_mb,
        cost.weights_mb,
        cost.map_mb,
        cost.uniform_mb,
    )
    return [str(cost.nb), cost.variant, *("" if each is None else f"{each:.0f}" for each in figures)]


def _cost(nb: int, name: str, request: ExportRequest) -> BuildCost:
    begin = time.perf_counter()
    try:
        exported = export_model(request)
    except ModelFileError:
        return BuildCost(nb, name, None)
    taken = time.perf_counter() - begin
    engine = exported.manifest.engines[-1]
    memory = {profile.name: profile.activation_bytes for profile in engine.profiles}
    return BuildCost(
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
