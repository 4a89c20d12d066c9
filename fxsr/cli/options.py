"""What several commands share: options, and stopping on a signal."""

from __future__ import annotations

from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output, nothing else.")]

DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Provider = Annotated[
    str, typer.Option("--provider", help="Of ONNX Runtime: auto, cpu, cuda, tensorrt or tensorrt-rtx.")
]
Trust = Annotated[bool, typer.Option("--trust", help="Load an engine without a manifest. Engines are code that runs.")]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0: all.")]
