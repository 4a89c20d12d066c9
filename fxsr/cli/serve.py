"""The HTTP server: `fxsr serve`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from fxsr.cli.options import AllowHost, DeviceName, Host, Port, Provider, Trust, check_limit, host_names, whole_units
from fxsr.cli.panels import HARDWARE, INPUT_OUTPUT, SCRIPTING, TILES
from fxsr.cli.stop import Stop
from fxsr.errors import DeviceLostError

if TYPE_CHECKING:
    from fxsr.runtime.session import SessionInfo
    from fxsr.runtime.upscale.upscaler import Upscaler


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
    allow_hosts: AllowHost = None,
    port: Port = 8000,
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
    max_jobs: Annotated[
        int,
        typer.Option(
            "--max-jobs",
            rich_help_panel=INPUT_OUTPUT,
            help="Maximum jobs that wait, run, or have a result; the oldest results are removed first.",
        ),
    ] = 64,
    keep_minutes: Annotated[
        float, typer.Option("--keep-minutes", rich_help_panel=INPUT_OUTPUT, help="How long results of jobs are kept.")
    ] = 60,
    max_stored: Annotated[
        float,
        typer.Option(
            "--max-stored-megabytes",
            rich_help_panel=INPUT_OUTPUT,
            help="Largest size of the files of all jobs; images that wait, and a single result, may have half of it.",
        ),
    ] = 4000,
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
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            rich_help_panel=SCRIPTING,
            help="Print a line for each request to standard output: time, client, method, path, status, bytes, "
            "milliseconds, and id.",
        ),
    ] = False,
) -> None:
    """Serve models over HTTP.

    `POST /v1/upscale` takes an image file and returns the upscaled file; with the header `Prefer: respond-async` it
    returns the address of a job. `/v2` is the Open Inference Protocol, which Triton's clients use. `/docs` describes
    all; `/metrics` is for Prometheus. On SIGTERM the server finishes the requests in flight, then exits.

    Example: `fxsr serve`, then
    `curl --fail-with-body -F image=@photo.jpg -F t=0.8 -o photo_x4.jpg localhost:8000/v1/upscale`
    """
    from fxsr.cli.print import print_note
    from fxsr.extras import needs
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.serve import server
    from fxsr.runtime.serve.settings import Settings
    from fxsr.runtime.upscale.upscaler import load

    with needs("serve"):
        from fxsr.runtime.serve.app import create_app

    for option, limit in (
        ("--max-requests", max_requests),
        ("--at-once", at_once),
        ("--timeout", timeout),
        ("--max-jobs", max_jobs),
        ("--keep-minutes", keep_minutes),
    ):
        check_limit(option, limit)
    settings = Settings(
        max_bytes=whole_units("--max-megabytes", max_megabytes, 1e6),
        max_pixels=whole_units("--max-megapixels", max_megapixels, 1e6),
        max_requests=max_requests,
        at_once=at_once,
        seconds=timeout,
        max_jobs=max_jobs,
        keep_seconds=60 * keep_minutes,
        token=token,
        hosts=host_names(host, allow_hosts),
        max_stored=whole_units("--max-stored-megabytes", max_stored, 1e6),
    )
    stop: Stop = context.obj
    with server.listen(host, port) as listener:

        def open_one(path: str) -> Upscaler:
            upscaler = load(path, device, tile, overlap, provider=provider, trust=trust)
            print_note(upscaler.session.info.note)
            return upscaler

        open_all = server.open_models(engines or [DEFAULT_MODEL], open_one)
        opened: dict[str, SessionInfo] = {}

        def models() -> Mapping[str, Upscaler]:
            upscalers = open_all()
            opened.update({name: upscaler.session.info for name, upscaler in upscalers.items()})
            return upscalers

        lost: list[DeviceLostError] = []

        def end(error: DeviceLostError) -> None:
            lost.append(error)
            running.should_exit = True

        app = create_app(models, settings, batch, end, typer.echo if access_log else None)
        typer.echo(server.address(listener), err=True)
        typer.echo(server.start_line(opened, settings), err=True)
        print_note(server.exposure(listener, settings))
        stop.patient = True  # the server handles signals itself, and raises them again at its end
        running = server.make_server(app, timeout, lambda: stop.received)
        running.run(sockets=[listener])
    if lost:  # whatever started the server can start it again
        raise lost[0]
