"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.panels import HARDWARE, SCRIPTING

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=SCRIPTING)]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document to standard output, and nothing else.", rich_help_panel=SCRIPTING
    ),
]

DeviceName = Annotated[
    str, typer.Option("--device", help="Where to run: auto, cpu, cuda or cuda:N.", rich_help_panel=HARDWARE)
]
Provider = Annotated[
    str,
    typer.Option(
        "--provider",
        help="ONNX Runtime's execution provider: auto, cpu, cuda, tensorrt or tensorrt-rtx.",
        rich_help_panel=HARDWARE,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load an engine without a manifest. Engines are executable code: use this only if you know their origin.",
        rich_help_panel=HARDWARE,
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on. 0.0.0.0 means all addresses.")]
