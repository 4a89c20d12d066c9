"""The web page: `fxsr ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.options import AllowHost, DeviceName, Host, Port, Provider, Trust, host_names, whole_units
from fxsr.cli.panels import INPUT_OUTPUT
from fxsr.cli.stop import Stop
from fxsr.errors import MissingExtraError

_SECONDS = 3600.0
"""Longest time of a request: results are large, and networks may be slow."""


def ui(
    context: typer.Context,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            metavar="[NAME=]MODEL",
            rich_help_panel=INPUT_OUTPUT,
            help="A model file or bundled name, with its name on the page. Repeat it for several models. "
            "[default: the bundled model]",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    allow_hosts: AllowHost = None,
    port: Port = 7860,
    open_browser: Annotated[
        bool, typer.Option("--open", rich_help_panel=INPUT_OUTPUT, help="Open the page in a browser.")
    ] = False,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", rich_help_panel=INPUT_OUTPUT, help="Largest size of a photo.")
    ] = 16,
    device: DeviceName = "auto",
    provider: Provider = "auto",
    trust: Trust = False,
) -> None:
    """Serve a web page with the style dial: compare, paint, upscale.

    The page loads nothing from other machines. Anyone who can reach the address may use it: keep it on this machine, or
    put it behind a proxy that authenticates users.

    Example: `fxsr ui --open`
    """
    from fxsr.cli.print import print_note
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.serve import server
    from fxsr.runtime.serve.settings import Settings
    from fxsr.runtime.ui.studio import Studio
    from fxsr.runtime.upscale.upscaler import Upscaler, load

    try:
        from fxsr.runtime.ui.page import make_page
    except MissingExtraError as error:  # of the server, whose packages are those of this extra
        raise MissingExtraError(error.package, "ui") from error

    stop: Stop = context.obj
    settings = Settings(
        max_bytes=200 << 20,
        max_pixels=whole_units("--max-megapixels", max_megapixels, 1e6),
        seconds=_SECONDS,
        hosts=host_names(host, allow_hosts),
    )
    with server.listen(host, port) as listener:

        def open_one(path: str) -> Upscaler:
            upscaler = load(path, device, provider=provider, trust=trust)
            print_note(upscaler.session.info.note)
            return upscaler

        models = server.open_models(engines or [DEFAULT_MODEL], open_one)
        with Studio(models, settings) as studio:
            app = make_page(studio)
            typer.echo(server.address(listener), err=True)
            if open_browser:
                typer.launch(server.address(listener))
            stop.patient = True  # the server handles signals itself, and raises them again at its end
            server.make_server(app, 3).run(sockets=[listener])
