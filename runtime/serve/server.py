"""Runs the app: opens models, listens on a port, and finishes the requests in flight when it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.models.file import model_name
from fxsr.runtime.upscale.upscaler import Upscaler

if TYPE_CHECKING:
    import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    Args:
        port: 0 means any free port.

    Raises:
        UsageError: this machine doesn't have the address, or it is in use.
    """
    if not host:  # which would mean all addresses
        raise UsageError("the host is empty; give an address to listen on, such as 127.0.0.1, or 0.0.0.0 for all")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        # names with empty or overlong labels can't be encoded
        reason = "no such name" if isinstance(error, UnicodeError) else getattr(error, "strerror", None) or error
        raise UsageError(f"can't listen on {host}, port {port} ({reason}); give another --host or --port") from error
    # as asyncio does for its own sockets: else the body of an answer waits until its head is acknowledged
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(listener: socket.socket) -> str:
    """The URL of a socket that `listen` returned."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def open_models(models: Sequence[str], open_one: Callable[[str], Upscaler]) -> Callable[[], Mapping[str, Upscaler]]:
    """A function that opens models, and returns their upscalers by name.

    Args:
        models: paths or bundled names. A model's name is that of its file, or NAME in NAME=PATH.
        open_one: opens a path or bundled name.
    """

    def open_all() -> Mapping[str, Upscaler]:
        upscalers: dict[str, Upscaler] = {}
        try:
            for model in models:
                name, path = _split_name(model)
                upscaler = open_one(path)
                name = name or model_name(Path(path))
                if name in upscalers:
                    upscaler.close()
                    raise UsageError(f"two models are called {name}; give one as --engine NAME={path}")
                upscalers[name] = upscaler
        except BaseException:
            for upscaler in upscalers.values():
                upscaler.close()
            raise
        return upscalers

    return open_all


def _split_name(model: str) -> tuple[str, str]:
    """Name and path of NAME=PATH; the name is empty if there is none. Paths may hold an equals sign as well."""
    if "=" not in model or Path(model).exists():
        return "", model
    name, _, path = model.partition("=")
    if not name or "/" in name:
        raise UsageError(f"{model}: no such file, and {name!r} is no name for a model")
    return name, path


def make_server(
    app: object, drain: float, verbose: bool = False, stopped: Callable[[], bool] = lambda: False
) -> uvicorn.Server:
    """A server that answers requests while its `run(sockets=[...])` runs: until SIGTERM or SIGINT arrives or
    `should_exit` is set. Then it finishes the requests in flight.

    Args:
        app: an ASGI app.
        drain: longest time in seconds for requests in flight.
        verbose: log every request.
        stopped: returns whether a signal arrived before the server handled signals.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """
    with needs("serve"):
        import uvicorn

        from fxsr.runtime.serve.connections import connection_limits, limited_protocol

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.should_exit = self.should_exit or stopped()

    connections, backlog = connection_limits()
    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # our app takes scopes as plain mappings
        http=limited_protocol(connections),
        ws="none",
        backlog=backlog,
        lifespan="on",
        log_level="info" if verbose else "warning",
        access_log=verbose,
        server_header=False,
        timeout_graceful_shutdown=round(drain),
    )
    return Server(config)
