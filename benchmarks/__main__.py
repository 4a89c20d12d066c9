"""`python -m fxsr.benchmarks COMMAND`: the measurements behind the documentation's figures."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from fxsr.benchmarks.gpu.command import gpu
from fxsr.benchmarks.picture_commands import acceptance, dial, drawings, photos, seams, sheet
from fxsr.benchmarks.speed_commands import building, coldstart, engines, memory, serving, soak
from fxsr.errors import FxsrError

app = typer.Typer(help="Measurements that anyone can repeat.", no_args_is_help=True, pretty_exceptions_enable=False)
COMMANDS: tuple[Callable[..., None], ...] = (
    engines,
    memory,
    coldstart,
    building,
    serving,
    soak,
    seams,
    dial,
    photos,
    drawings,
    sheet,
    acceptance,
    gpu,
)
for command in COMMANDS:
    app.command()(command)


if __name__ == "__main__":
    try:
        app()
    except FxsrError as error:
        print(f"fxsr.benchmarks: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
