"""The command line: `fxsr COMMAND --help`. It parses arguments and prints messages; the work is done elsewhere.

Exit status: 0 success; 1 some inputs failed, the others were written; 2 wrong usage; 3 a needed package or device is
missing.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

import fxsr
from fxsr.cli import bench as cli_bench
from fxsr.cli import export as cli_export
from fxsr.cli import native as cli_native
from fxsr.cli import run as cli_run
from fxsr.cli import serve as cli_serve
from fxsr.cli import tmap as cli_tmap
from fxsr.cli import train as cli_training
from fxsr.cli import ui as cli_ui
from fxsr.cli import verify as cli_verify
from fxsr.cli.command import Command
from fxsr.cli.options import Json
from fxsr.cli.run_command import RunCommand
from fxsr.cli.stop import Stop
from fxsr.errors import FxsrError, UsageError, printable

app = typer.Typer(
    name="fxsr",
    help="Super-resolution with a style dial: t = 0 is faithful, t = 1 is perceptual, and t may differ per pixel.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> NoReturn:
    """Run the command line and exit. An error is printed as one line and sets the exit status."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # number GPUs as nvidia-smi does
    os.environ.setdefault("VIPS_BLOCK_UNTRUSTED", "1")  # loaders of libvips that nothing here calls, such as SVG's
    _silence_libraries()
    for stream in (sys.stdout, sys.stderr):  # None if it is closed
        if isinstance(stream, TextIOWrapper):  # a name that its encoding lacks must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        app(obj=Stop())
    except FxsrError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    except BrokenPipeError:  # the program that reads our output has ended
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # of a standard stream, or of a file whose errors are not handled elsewhere
        _complain(": ".join(str(part) for part in (error.filename, error.strerror or error) if part is not None))
        _discard_output()
        sys.exit(1)
    sys.exit(0)


def _silence_libraries() -> None:
    """Keep warnings of libraries off standard error, where each line is one of this program's messages.

    What they warn of is either checked here, such as NaN and the size of images, or of no use to users. `python -W` and
    a handler of `logging` bring them back.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what no handler takes
    os.environ.setdefault("VIPS_WARNING", "0")  # libvips is silent if it is set at all


def _discard_output() -> None:
    """Keep the interpreter from writing buffered output at exit, which has failed before."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fxsr {fxsr.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command(cls=RunCommand)(cli_run.run)


@app.command(cls=Command)
def info(
    file: Annotated[str, typer.Argument(help="A checkpoint, ONNX file, engine, manifest or bundled name.")],
    as_json: Json = False,
) -> None:
    """Describe a model file."""
    from fxsr.cli.print import print_facts
    from fxsr.runtime.describe import describe

    print_facts(describe(file), as_json)


@app.command(cls=Command)
def models(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also tell how each bundled model was made.")
    ] = False,
    download: Annotated[
        str | None, typer.Option("--download", metavar="NAME", help="Tell how to get a model that its authors host.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the bundled models with their model cards, and models that the authors host elsewhere."""
    from fxsr.cli.print import print_models
    from fxsr.models.bundled import PUBLISHED_MODELS, bundled_models, how_to_get, model_card

    if download is not None:
        raise UsageError(how_to_get(download))
    cards = {name: model_card(name, history=verbose or as_json) for name in bundled_models()}
    print_models(cards, PUBLISHED_MODELS, as_json)


@app.command(cls=Command)
def doctor(as_json: Json = False) -> None:
    """Report what this machine supports, and how to install what is missing."""
    from fxsr.cli.print import print_facts
    from fxsr.runtime.describe import examine_machine

    print_facts(examine_machine(), as_json)


app.command(cls=cli_export.ExportCommand)(cli_export.export)
app.command(cls=Command)(cli_verify.verify)
app.command(cls=Command)(cli_bench.bench)
app.command(cls=Command)(cli_training.train)
app.command("eval", cls=Command)(cli_training.evaluate)
app.command(cls=Command)(cli_serve.serve)
app.command(cls=Command)(cli_ui.ui)
app.command(cls=Command)(cli_native.native)
app.add_typer(cli_tmap.app, name="tmap")


def _complain(message: str) -> None:
    """Print one line on standard error."""
    typer.echo(f"fxsr: {printable(' '.join(message.split()))}", err=True)
