"""The web page: `fxsr ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli.options import DeviceName, Host, Provider, Trust, whole_number
from fxsr.cli.panels import INPUT_OUTPUT
from fxsr.cli.stop import Stop


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
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, rich_help_panel=INPUT_OUTPUT, help="Port; 0 means any free port.")
    ] = 7860,
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
    """Serve a web page with the style dial, on which style maps are painted.

    The page loads nothing from other machines. Anyone who can reach the address may use it: keep it on this machine, or
    put it behind a proxy that authenticates users.

    Example: `fxsr ui --open`
    """
    max_pixels = whole_number(max_megapixels, 1e6, "--max-megapixels")
    from fxsr.models.bundled import DEFAULT_MODEL
    from fxsr.runtime.serve import server
    from fxsr.runtime.serve.settings import Settings
    from fxsr.runtime.ui.page import make_page
    from fxsr.runtime.ui.studio import Studio
    from fxsr.runtime.upscale.upscaler import load

    stop: Stop = context.obj
    settings = Settings(max_bytes=200 << 20, max_pixels=max_pixels)
    with server.listen(host, port) as listener:
        models = server.open_models(
            engines or [DEFAULT_MODEL], lambda path: load(path, device, provider=provider, trust=trust)
        )
        with Studio(models, settings) as studio:
            app = make_page(studio)
            typer.echo(server.address(listener), err=True)
            if open_browser:
                typer.launch(server.address(listener))
            stop.patient = True  # the server handles signals itself, and raises them again at its end
            server.make_server(app, 3).run(sockets=[listener])
