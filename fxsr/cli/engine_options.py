"""Options of `fxsr export` that concern the engine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fxsr.cli.panels import TILES

_ENGINE = "Engine"


class EngineChoice(StrEnum):
    """The engine that `fxsr export` builds from the ONNX file."""

    auto = "auto"
    none = "none"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"


EngineName = Annotated[
    EngineChoice,
    typer.Option(
        "--engine",
        help="Engine to build from the ONNX file. auto: tensorrt if it is installed and there is a GPU, else "
        "tensorrt-rtx if it is installed (it builds without a GPU), else none.",
        rich_help_panel=_ENGINE,
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        help="Side of the tiles that the engine takes, in LR pixels. [default: 256]",
        rich_help_panel=TILES,
    ),
]
Shapes = Annotated[
    str | None,
    typer.Option(
        "--shapes",
        metavar="MIN,OPT,MAX",
        help="Instead of --tile, a range of sizes as HEIGHTxWIDTH, such as 64x64,256x256,512x512.",
        rich_help_panel=TILES,
    ),
]
Batch = Annotated[
    str,
    typer.Option("--batch", help="Tiles in a batch: a number, or a range MIN,OPT,MAX.", rich_help_panel=TILES),
]
ComputeCapability = Annotated[
    list[str] | None,
    typer.Option(
        "--compute-capability",
        help="tensorrt-rtx: GPUs to build for, such as 8.6. Repeatable. [default: 8.0, 8.6, 8.9, 12.0 and above]",
        rich_help_panel=_ENGINE,
    ),
]
OptLevel = Annotated[
    int | None,
    typer.Option(
        "--opt-level",
        help="How long to search for fast kernels, 0 to 5. [default: 3]",
        rich_help_panel=_ENGINE,
    ),
]
Workspace = Annotated[
    int | None,
    typer.Option("--workspace", help="Most memory for one layer, in MB. [default: no limit]", rich_help_panel=_ENGINE),
]
TimingCache = Annotated[
    Path | None,
    typer.Option(
        "--timing-cache",
        help="tensorrt: file of kernel timings, read and written. [default: in the user's cache folder]",
        rich_help_panel=_ENGINE,
    ),
]
VersionCompatible = Annotated[
    bool,
    typer.Option("--version-compatible", help="tensorrt: build for later versions too.", rich_help_panel=_ENGINE),
]
HardwareCompatible = Annotated[
    bool,
    typer.Option(
        "--hardware-compatible",
        help="tensorrt: build for all GPUs of compute capability 8.0 and newer.",
        rich_help_panel=_ENGINE,
    ),
]
StripWeights = Annotated[
    bool,
    typer.Option(
        "--strip-weights",
        help="Leave the weights out of the engine; they are read from the ONNX file when it is loaded.",
        rich_help_panel=_ENGINE,
    ),
]
Refit = Annotated[bool, typer.Option("--refit", help="Allow weights to be replaced later.", rich_help_panel=_ENGINE)]
