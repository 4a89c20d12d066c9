"""What of Gradio the page's server lets clients reach, and how. Plain ASGI.

Gradio has more routes than this page needs. Some fetch URLs that clients name, and files are served for display, in the
page's origin, whoever uploaded them.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

from fxsr.runtime.serve.exchange import App, Exchange, Message, Receive, Send
from fxsr.runtime.serve.images import MEDIA_TYPES
from fxsr.runtime.serve.origins import check_origin
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.settings import Settings

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""The page loads everything from this server. Gradio evaluates templates, hence the unsafe-... entries."""
_FILE_POLICY = "default-src 'none'; sandbox"
_API = "/gradio_api"
_FILE = f"{_API}/file="
_JOIN = f"{_API}/queue/join"
_PATHS = frozenset(
    {"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", _JOIN}
    | {f"{_API}/{name}" for name in ("app_id", "cancel", "info", "queue/data", "reset", "startup-events", "theme.css")}
    | {f"{_API}/{name}" for name in ("upload", "upload_progress")}
)
_FOLDERS = ("/static/", "/assets/", "/svelte/", f"{_API}/heartbeat/")
_URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+:")
_MAX_JSON = 4 << 20
"""Largest size of an event of the page, in bytes: a painting has up to 2.8 MB."""
_MAX_LISTS = 1000
"""Largest number of lists and objects in such an event: parsed, each takes sixty times its text."""
_SHOWN = frozenset(MEDIA_TYPES.values()) - {"image/tiff", "image/x-exr"}
"""Media types of files that the page shows. All others, whatever they are called, are bytes to be saved."""
_BYTES = "application/octet-stream"


class PageGuard:
    """Passes requests to Gradio's app: those of this page, to routes that it needs, with bodies of bounded size.

    Args:
        app: Gradio's app.
        settings: the limits.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # there is nothing for web sockets
                await self._app(scope, receive, send)
            return
        path = scope["path"]
        most = _MAX_JSON if path != f"{_API}/upload" else self._settings.max_bytes + (1 << 16)  # and what frames a file
        exchange = Exchange(receive, _with_headers(path, send), most)
        try:
            check_origin(scope, self._settings.hosts)
            _check_path(path)
            exchange.check_length(dict(scope["headers"]).get(b"content-length"))
            incoming = await _checked_event(exchange) if path == _JOIN else exchange.receive
            await self._app(scope, incoming, exchange.send)
            if exchange.refused:
                await exchange.answer(exchange.refused)
        except ProblemError as problem:
            await exchange.answer(problem)
        finally:
            exchange.close()


def _check_path(path: str) -> None:
    """Refuse what the page does not need.

    Raises:
        ProblemError: it is no path of the page, or names a file elsewhere.
    """
    if path.startswith(_FILE):
        if _URL.match(path.removeprefix(_FILE)) and not PurePath(path.removeprefix(_FILE)).drive:
            raise ProblemError(HTTPStatus.FORBIDDEN, "this server fetches nothing from other machines")
    elif path not in _PATHS and not path.startswith(_FOLDERS):
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is nothing here")


async def _checked_event(exchange: Exchange) -> Receive:
    """The body of an event of the page, once it is known to name no URL.

    Raises:
        ProblemError: it does, is not JSON, or is too large.
    """
    body = bytearray()
    while not exchange.received and not exchange.gone:
        body += (await exchange.receive()).get("body", b"")
    if body.count(b"[") + body.count(b"{") > _MAX_LISTS:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an event may hold {_MAX_LISTS} lists and objects")
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the event is not JSON") from None
    if _names_url(event):
        raise ProblemError(HTTPStatus.FORBIDDEN, "this server fetches nothing from other machines: upload the file")
    messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await exchange.receive()

    return receive


def _names_url(value: Any) -> bool:
    """Whether a file somewhere in an event is named by a URL, which Gradio would fetch."""
    if isinstance(value, list):
        return any(map(_names_url, value))
    if isinstance(value, dict):
        path = value.get("path")
        return (isinstance(path, str) and bool(_URL.match(path)) and not PurePath(path).drive) or any(
            map(_names_url, value.values())
        )
    return False


def _with_headers(path: str, send: Send) -> Send:
    """Add the page's policy to responses; files become downloads with a fixed media type."""
    is_file = path.startswith(_FILE)
    media_type = mimetypes.guess_type(path)[0] or _BYTES

    def changed(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        if not is_file:
            return {**headers, b"content-security-policy": POLICY.encode()}
        _, semicolon, name = headers.get(b"content-disposition", b"").partition(b";")
        return {
            **headers,
            b"content-security-policy": _FILE_POLICY.encode(),
            b"content-type": (media_type if media_type in _SHOWN else _BYTES).encode(),
            b"content-disposition": b"attachment" + semicolon + name,
        }

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start" and (message["status"] < 400 or not is_file):
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            message = {**message, "headers": [*changed(headers).items()]}
        await send(message)

    return send_with_headers
