"""The models that the steps of the hardware report run, and the files that steps share in the work folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fxsr.benchmarks.engines import random_checkpoint
from fxsr.errors import UnavailableError
from fxsr.export import EngineRequest, ExportRequest, export_model
from fxsr.export.engine.engine import choose_flavour, default_timing_cache, why_unfit
from fxsr.export.engine.profiles import Tiles
from fxsr.export.exporter import ExportResult
from fxsr.export.graph.graph import GraphOptions
from fxsr.images.image import Picture, read_image, write_image
from fxsr.models.bundled import DEFAULT_MODEL, bundled_file
from fxsr.models.checkpoint import save_checkpoint
from fxsr.models.config import NetworkConfig
from fxsr.models.file import engine_ending
from fxsr.models.manifest import Flavour, Precision

Size = tuple[int, int]
"""Height and width in LR pixels."""
Side = Literal["small", "full"]
PHOTO = "photo.png"
_PHOTO_SIDE = 1024

# Combinations of the exact rewrites, by name. Without folding there is no blocked layout either.
REWRITES: dict[str, GraphOptions] = {
    "all": GraphOptions(),
    "no strips": GraphOptions(strips=False),
    "no phases": GraphOptions(phase_upsampling=False),
    "no folding": GraphOptions(fold_styles=False),
    "no blocked layout": GraphOptions(blocked=False),
    "none": GraphOptions(fold_styles=False, phase_upsampling=False, strips=False),
}


@dataclass(frozen=True)
class ModelSpec:
    """A model of the report: the bundled one, or one of full size with random weights, which are as fast as others."""

    side: Side
    blocks: int = 23
    """Blocks of the full-size model."""

    @property
    def label(self) -> str:
        return DEFAULT_MODEL if self.side == "small" else f"{self.blocks} blocks of full width"

    def checkpoint(self, work: Path) -> Path:
        """The model's checkpoint, written first if need be."""
        if self.side == "small":
            return bundled_file(DEFAULT_MODEL, ".safetensors")
        path = work / f"full-{self.blocks}.safetensors"
        if not path.is_file():
            save_checkpoint(path, random_checkpoint(NetworkConfig(nb=self.blocks)))
        return path

    def graph(self, work: Path, precision: Precision, rewrites: str = "all") -> Path:
        """The model's ONNX graph; an earlier step's if there is one."""
        options = replace(REWRITES[rewrites], precision=precision)
        folder = work / f"{self.side}-{precision}-{rewrites.replace(' ', '-')}"
        return export_model(ExportRequest(self.checkpoint(work), folder, options, check=False)).onnx

    def build(self, work: Path, flavour: Flavour, tiles: Tiles, rewrites: str = "all") -> ExportResult:
        """Build an engine in half precision; an earlier step's if there is one.

        Raises:
            UnavailableError: the flavour can't build on this machine, or not for its GPU.
        """
        choose_flavour(flavour)
        if reason := why_unfit(flavour):
            raise UnavailableError(f"{flavour}: {reason}")
        options = replace(REWRITES[rewrites], precision="fp16")
        engine = EngineRequest(flavour, tiles, timing_cache=default_timing_cache(flavour))
        folder = self._engine_folder(work, flavour, tiles.sizes[-1], rewrites)
        return export_model(ExportRequest(self.checkpoint(work), folder, options, engine, check=False))

    def engine(self, work: Path, flavour: Flavour, size: Size) -> Path:
        """The engine for tiles up to `size` that an earlier step built.

        Raises:
            UnavailableError: there is none.
        """
        folder = self._engine_folder(work, flavour, size, "all")
        # hidden files are engines that a builder was stopped at
        found = sorted(folder.glob(f"[!.]*{engine_ending(flavour)}"))
        if not found:
            raise UnavailableError(f"no {flavour} engine of the {self.side} model for {size[0]}x{size[1]} was built")
        return found[0]

    def _engine_folder(self, work: Path, flavour: Flavour, size: Size, rewrites: str) -> Path:
        return work / f"{self.side}-{flavour}-{size[0]}x{size[1]}-{rewrites.replace(' ', '-')}"


def photo(work: Path, side: int = _PHOTO_SIDE) -> Path:
    """A photo of `side` x `side` pixels: a bundled one, continued by its reflections."""
    path = work / f"{side}-{PHOTO}"
    if not path.is_file():
        write_image(path, Picture(np.ascontiguousarray(reflected(side, side))))
    return path


def reflected(height: int, width: int) -> np.ndarray:
    """Pixels (height, width, 3), uint8, of a bundled photo that is continued by its reflections."""
    from importlib.resources import as_file, files

    with as_file(files("fxsr.export").joinpath("photos", "coffee.png")) as path:
        pixels = read_image(Path(path)).pixels[..., :3]
    rows, columns = (_reflection(length, size) for length, size in zip((height, width), pixels.shape[:2], strict=True))
    found: np.ndarray = pixels[rows][:, columns]
    return found


def _reflection(length: int, size: int) -> np.ndarray:
    """Indices 0, 1, ..., size-1, size-1, ..., 0, 0, 1, ... of an axis."""
    place = np.arange(length) % (2 * size)
    found: np.ndarray = np.minimum(place, 2 * size - 1 - place)
    return found
