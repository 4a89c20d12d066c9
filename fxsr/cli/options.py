"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.panels import HARDWARE, SCRIPTING
from fxsr.errors import UsageError

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


def _check_host(host: str) -> str:
    try:
        host.encode("idna")
    except UnicodeError as error:
        reason = "part of it is empty or longer than 63 characters" if host.isascii() else error
        raise UsageError(f"--host is {host[:80]!r}, which is no address or name of a machine: {reason}") from error
    return host


Host = Annotated[
    str,
    typer.Option("--host", callback=_check_host, help="Address to listen on. 0.0.0.0 means all addresses."),
]


def whole_number(value: float, unit: float, option: str) -> int:
    """`value` times `unit` as a whole number, such as bytes from --max-megabytes.

    Raises:
        UsageError: it is less than one, or a million units or more; the message names the option.
    """
    if not (0 < value < 1e6 and (whole := round(value * unit))):
        raise UsageError(f"{option} is {value:g}; it must be at least {1 / unit:g} and less than a million")
    return whole
