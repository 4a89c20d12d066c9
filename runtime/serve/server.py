"""Runs the app: opens models, listens on a port, and finishes the requests in flight when it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.models.file import model_name
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import SessionInfo
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


def start_line(models: Mapping[str, SessionInfo], settings: Settings) -> str:
    """One line about what a server serves, and its limits."""
    served = ", ".join(
        f"{name} (x{info.scale}, {info.precision}, {info.backend} on {info.device})" for name, info in models.items()
    )
    limits = (
        f"{settings.max_bytes / 1e6:g} MB",
        f"{settings.max_pixels / 1e6:g} megapixels",
        f"{settings.seconds:g} s",
        f"{settings.max_requests} requests, {settings.at_once} at once",
        f"{settings.max_jobs} jobs",
    )
    token = "a token is needed" if settings.token else "no token is needed"
    return f"serving {served}; limits: {', '.join(limits)}; {token}"


def exposure(listener: socket.socket, settings: Settings) -> str:
    """A warning, if other machines can use a server that asks for no token; otherwise an empty text."""
    host = listener.getsockname()[0]
    if settings.token or ip_address(host).is_loopback:
        return ""
    return (
        f"anyone who can reach {host} can use this server: set FXSR_TOKEN to a token that clients must send, "
        "or listen on 127.0.0.1"
    )


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


def make_server(app: object, drain: float, stopped: Callable[[], bool] = lambda: False) -> uvicorn.Server:
    """A server that answers requests while its `run(sockets=[...])` runs: until SIGTERM or SIGINT arrives or
    `should_exit` is set. Then it finishes the requests in flight.

    Args:
        app: an ASGI app.
        drain: longest time in seconds for requests in flight.
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
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(drain),
    )
    return Server(config)
