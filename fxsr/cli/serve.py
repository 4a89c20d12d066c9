"""The HTTP server: `fxsr serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.options import DeviceName, Host, Provider, Trust, whole_number
from fxsr.cli.panels import HARDWARE, INPUT_OUTPUT, SCRIPTING, TILES
from fxsr.cli.stop import Stop
from fxsr.errors import UsageError


def serve(
    context: typer.Context,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            metavar="[NAME=]MODEL",
            rich_help_panel=INPUT_OUTPUT,
            help="A model file or bundled name, with the name that clients use. Repeat it for several models. "
            "[default: the bundled model]",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, rich_help_panel=INPUT_OUTPUT, help="Port; 0 means any free port.")
    ] = 8000,
    max_megabytes: Annotated[
        float,
        typer.Option("--max-megabytes", rich_help_panel=INPUT_OUTPUT, help="Largest size of a request body."),
    ] = 64,
    max_megapixels: Annotated[
        float,
        typer.Option(
            "--max-megapixels", rich_help_panel=INPUT_OUTPUT, help="Largest size of an image or style map in a request."
        ),
    ] = 16,
    max_requests: Annotated[
        int,
        typer.Option(
            "--max-requests", rich_help_panel=INPUT_OUTPUT, help="Maximum requests in flight; further ones get 429."
        ),
    ] = 64,
    timeout: Annotated[
        float, typer.Option("--timeout", rich_help_panel=INPUT_OUTPUT, help="Seconds that a request may take.")
    ] = 120,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="FXSR_TOKEN",
            show_envvar=True,
            rich_help_panel=INPUT_OUTPUT,
            help="Bearer token that clients must send. The environment variable keeps it out of process lists.",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            min=1,
            rich_help_panel=TILES,
            help="Largest tile side in input pixels. [default: 256, or the engine's limit]",
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", rich_help_panel=TILES, help="Input pixels that neighbouring tiles share. [default: 32]"
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            rich_help_panel=TILES,
            help="Largest number of tiles in a batch. [default: an engine's limit, or as many as cover 256x256 pixels, "
            "on a CPU 64x64]",
        ),
    ] = None,
    at_once: Annotated[
        int,
        typer.Option(
            "--at-once", rich_help_panel=HARDWARE, help="Requests in work at once; the others in flight wait."
        ),
    ] = 8,
    device: DeviceName = "auto",
    provider: Provider = "auto",
    trust: Trust = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", rich_help_panel=SCRIPTING, help="Log every request.")
    ] = False,
) -> None:
    """Serve models over HTTP.

    `POST /v1/upscale` takes an image file and returns the upscaled file. `/v2` is the Open Inference Protocol, which
    Triton's clients use. `/docs` describes both; `/metrics` is for Prometheus. On SIGTERM the server finishes the
    requests in flight, then exits.

    Example: `fxsr serve`, then `curl -F image=@photo.jpg -F t=0.8 -o photo_x4.jpg localhost:8000/v1/upscale`
    """
    max_bytes = whole_number(max_megabytes, 1e6, "--max-megabytes")
    max_pixels = whole_number(max_megapixels, 1e6, "--max-megapixels")
    if timeout <= 0:
        raise UsageError(f"--timeout is {timeout:g}; it must be above 0")
    from fxsr.extras import needs
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.serve import server
    from fxsr.runtime.serve.settings import Settings
    from fxsr.runtime.upscale.upscaler import load

    with needs("serve"):
        from fxsr.runtime.serve.app import create_app

    settings = Settings(max_bytes, max_pixels, max_requests, at_once, timeout, token)
    stop: Stop = context.obj
    with server.listen(host, port) as listener:
        models = server.open_models(
            engines or [DEFAULT_MODEL], lambda path: load(path, device, tile, overlap, provider=provider, trust=trust)
        )
        app = create_app(models, settings, batch)
        typer.echo(server.address(listener), err=True)
        stop.patient = True  # the server handles signals itself, and raises them again at its end
        server.make_server(app, timeout, verbose, lambda: stop.received).run(sockets=[listener])
