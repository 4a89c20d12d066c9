"""The command with a page: `fxsr ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from fxsr.cli_options import Stop


def ui(
    context: typer.Context,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            metavar="[NAME=]MODEL",
            help="A model file or bundled name, and its name on the page; again for more. [default: the bundled model]",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0: all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    max_megapixels: Annotated[float, typer.Option("--max-megapixels", help="Of a photo.")] = 16,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    provider: Annotated[
        str, typer.Option("--provider", help="Of ONNX Runtime: auto, cpu, cuda, tensorrt or tensorrt-rtx.")
    ] = "auto",
    trust: Annotated[
        bool, typer.Option("--trust", help="Load an engine without a manifest. Engines are code that runs.")
    ] = False,
) -> None:
    """Open a page on which to turn the dial and paint the style map.

    It asks no other machine for anything. Whoever reaches the address may use it: keep it to this machine, or behind
    something that asks who comes.

    Example: `fxsr ui --open`
    """
    from fxsr.runtime.serve import server
    from fxsr.runtime.serve.settings import Settings
    from fxsr.runtime.ui.page import make_page
    from fxsr.runtime.ui.studio import Studio
    from fxsr.runtime.upscaler import load
    from fxsr.weights import DEFAULT_MODEL

    stop: Stop = context.obj
    settings = Settings(max_bytes=200 << 20, max_pixels=round(max_megapixels * 1e6))
    with server.listen(host, port) as listener:
        models = server.open_models(
            engines or [DEFAULT_MODEL], lambda path: load(path, device, provider=provider, trust=trust)
        )
        with Studio(models, settings) as studio:
            app = make_page(studio)
            name, number = listener.getsockname()[:2]
            address = f"http://{f'[{name}]' if ':' in name else name}:{number}"
            typer.echo(address, err=True)
            if open_browser:
                typer.launch(address)
            stop.patient = True  # the server takes signals itself, and passes them on when it is done
            server.make_server(app, 3).run(sockets=[listener])
