"""Running the app: from models and a port to a process that drains when it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.runtime.upscale.upscaler import Upscaler

if TYPE_CHECKING:
    import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Args:
        port: 0 takes one that is free.

    Raises:
        UsageError: the address is none of this machine's, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"can't listen on {host}, port {port} ({reason}); give another --host or --port") from error
    # asyncio does so for sockets of its own; without, each answer's body waits for its head to be acknowledged
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(listener: socket.socket) -> str:
    """The URL at which a socket of `listen` answers."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def open_models(models: Sequence[str], open_one: Callable[[str], Upscaler]) -> Callable[[], Mapping[str, Upscaler]]:
    """What opens upscalers by name.

    Args:
        models: each a path or bundled name; it is called as its file is, or NAME in NAME=PATH.
        open_one: opens a path or bundled name.
    """

    def opened() -> Mapping[str, Upscaler]:
        upscalers: dict[str, Upscaler] = {}
        try:
            for model in models:
                name, path = _named(model)
                upscaler = open_one(path)
                name = name or Path(path).name.removesuffix(Path(path).suffix).removesuffix(".rtx")
                if name in upscalers:
                    upscaler.close()
                    raise UsageError(f"two models are called {name}; give one as --engine NAME={path}")
                upscalers[name] = upscaler
        except BaseException:
            for upscaler in upscalers.values():
                upscaler.close()
            raise
        return upscalers

    return opened


def _named(model: str) -> tuple[str, str]:
    """The name, if any, and the path of NAME=PATH; a path may hold such a sign too."""
    if "=" not in model or Path(model).exists():
        return "", model
    name, _, path = model.partition("=")
    if not name or "/" in name:
        raise UsageError(f"{model}: no such file, and {name!r} is no name for a model")
    return name, path


def make_server(
    app: object, drain: float, verbose: bool = False, stopped: Callable[[], bool] = lambda: False
) -> uvicorn.Server:
    """What answers requests once its `run(sockets=[...])` is called: until SIGTERM or SIGINT, or until `should_exit`
    is set; then those in flight are finished, for `drain` seconds at most.

    Args:
        stopped: whether it was told to stop before it could hear of it.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """
    with needs("serve"):
        import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.should_exit = self.should_exit or stopped()

    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # scopes are plain mappings to ours
        lifespan="on",
        log_level="info" if verbose else "warning",
        access_log=verbose,
        server_header=False,
        timeout_graceful_shutdown=round(drain),
    )
    return Server(config)
