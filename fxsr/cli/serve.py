"""The command that serves: `fxsr serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.options import DeviceName, Host, Provider, Trust
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
            help="A model file or bundled name, and what clients call it; again for more. [default: the bundled model]",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    tile: Annotated[
        int | None,
        typer.Option("--tile", min=1, help="Largest tile side in input pixels. [default: 256, or the engine's]"),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", help="Input pixels that neighbouring tiles share. [default: 32]")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            help="Most tiles in a batch. [default: an engine's, or as make up 256x256; on a CPU 64x64]",
        ),
    ] = None,
    max_megabytes: Annotated[float, typer.Option("--max-megabytes", help="Of a request.")] = 64,
    max_megapixels: Annotated[float, typer.Option("--max-megapixels", help="Of an image that is sent.")] = 16,
    max_requests: Annotated[
        int, typer.Option("--max-requests", help="In flight; more are told to come back later.")
    ] = 64,
    at_once: Annotated[int, typer.Option("--at-once", help="Of these, images that are decoded and encoded.")] = 8,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that a request may take.")] = 120,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="FXSR_TOKEN",
            show_envvar=True,
            help="What clients must send as a bearer token. The variable keeps it out of lists of processes.",
        ),
    ] = None,
    device: DeviceName = "auto",
    provider: Provider = "auto",
    trust: Trust = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every request.")] = False,
) -> None:
    """Serve models over HTTP.

    `POST /v1/upscale` takes and gives image files; `/v2` speaks the Open Inference Protocol, as Triton's clients do;
    `/docs` describes both, `/metrics` is for Prometheus. SIGTERM ends it when requests in flight are done.

    Example: `fxsr serve`, then `curl -F image=@photo.jpg -F t=0.8 -o photo_x4.jpg localhost:8000/v1/upscale`
    """
    from fxsr.extras import needs
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.serve import server
    from fxsr.runtime.serve.settings import Settings
    from fxsr.runtime.upscale.upscaler import load

    with needs("serve"):
        from fxsr.runtime.serve.app import create_app

    for name, limit in (("megabytes", max_megabytes), ("megapixels", max_megapixels)):
        if not 0 < limit < 1e6:
            raise UsageError(f"max-{name} is {limit:g}; it must be above 0 and less than a million")
    settings = Settings(round(max_megabytes * 1e6), round(max_megapixels * 1e6), max_requests, at_once, timeout, token)
    if tile is not None and tile < 1:
        raise UsageError("a server cuts images into tiles; give a --tile above 0")
    stop: Stop = context.obj
    with server.listen(host, port) as listener:
        models = server.open_models(
            engines or [DEFAULT_MODEL], lambda path: load(path, device, tile, overlap, provider=provider, trust=trust)
        )
        app = create_app(models, settings, batch)
        typer.echo(server.address(listener), err=True)
        stop.patient = True  # the server takes signals itself, and passes them on when it is done
        server.make_server(app, timeout, verbose, lambda: stop.received).run(sockets=[listener])
