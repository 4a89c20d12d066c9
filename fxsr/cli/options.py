"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.panels import HARDWARE, INPUT_OUTPUT, SCRIPTING
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
    typer.Option(
        "--host",
        callback=_check_host,
        rich_help_panel=INPUT_OUTPUT,
        help="Address to listen on. 0.0.0.0 means all addresses.",
    ),
]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, rich_help_panel=INPUT_OUTPUT, help="Port; 0 means any free port.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        rich_help_panel=INPUT_OUTPUT,
        help="A name under which browsers and clients reach this server, for example through a proxy; repeat it for "
        "several. Without it they use localhost or the address that it listens on. '*' means any name.",
    ),
]


def check_limit(option: str, value: float) -> None:
    """Check the value of an option that limits something.

    Raises:
        UsageError: it is not above 0, or is absurd.
    """
    if not 0 < value < 1e6:
        raise UsageError(f"{option} is {value:g}; it must be above 0 and less than a million")


def whole_units(option: str, value: float, unit: float) -> int:
    """Value of an option in millions, or other units, as a number of single ones.

    Raises:
        UsageError: it is less than a single one, or absurd.
    """
    check_limit(option, value)
    if value * unit < 1:
        raise UsageError(f"{option} is {value:g}; it must be at least {1 / unit:g}")
    return int(value * unit)


def host_names(host: str, allowed: list[str] | None) -> tuple[str, ...]:
    """The names of a server: that of `--host`, and those of `--allow-host`, each without its port.

    Raises:
        UsageError: one of them is no name.
    """
    for name in allowed or ():
        if not name or "/" in name or (":" in name and not name.startswith("[")):
            raise UsageError(f"--allow-host is {name!r}; it must be a name without http:// and without a port")
    return (host, *(allowed or ()))
