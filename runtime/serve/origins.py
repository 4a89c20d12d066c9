"""Which requests are answered: those that name this server as their host and don't come from pages of other sites.

Browsers send requests to servers on this machine for any page that asks them to. A page can do so under its own name,
which it lets point here (DNS rebinding), or under a name of this server (cross-site requests). The first kind carries a
foreign `Host`, the second a foreign `Origin` or `Sec-Fetch-Site`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, MutableMapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fxsr.runtime.serve.problems import ProblemError

ANY_HOST = "*"
"""Among the names of a server: it answers for any host."""
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response: browsers keep to its media type, and pages of other sites can't embed it."""
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.%]+\]|[^\[\]:/@\\?#\s]+)(:(?P<port>[0-9]{0,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_origin(scope: MutableMapping[str, Any], hosts: Collection[str] = ()) -> None:
    """Refuse a request to another host, or from a page of another site.

    Args:
        scope: the request's ASGI scope.
        hosts: names of this server, in addition to the loopback names and the address at which the request arrived.
            `*` means any name.

    Raises:
        ProblemError: the request is refused.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host")
    if host is None:  # HTTP/1.0, which no browser speaks
        authority: tuple[str, int | None] | None = None
    else:
        authority = _authority(host)
        if authority is None or not _is_known(authority[0], scope.get("server"), hosts):
            advice = f"; if that is its name, start it with --allow-host {authority[0]}" if authority else ""
            detail = f"this server does not answer for the host {host[:80]!r}{advice}"
            raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, detail)
    origin = headers.get(b"origin")
    if origin is not None and not _is_own(origin, authority, hosts):
        raise ProblemError(HTTPStatus.FORBIDDEN, f"pages of {origin[:80]!r} may not use this server")
    site = headers.get(b"sec-fetch-site", "none")
    if site not in ("same-origin", "none") and not _is_link(scope["method"], headers):
        raise ProblemError(HTTPStatus.FORBIDDEN, "pages of other sites may not use this server")


def _authority(text: str) -> tuple[str, int | None] | None:
    """Name in lower case, and port, of HOST or HOST:PORT; None: it is neither."""
    match = _HOST.fullmatch(text.strip().lower())
    if match is None:
        return None
    return match["name"].strip("[]").removesuffix("."), int(match["port"]) if match["port"] else None


def _is_known(name: str, server: tuple[str, int | None] | None, hosts: Collection[str]) -> bool:
    """Whether a name is one of this server's. `server` is the address at which the request arrived."""
    if name == "localhost" or ANY_HOST in hosts or name in {host.lower().strip("[]") for host in hosts}:
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    try:
        # A server that other machines reach may be known by an address that is not its own, such as its router's.
        # Addresses can't be made to point elsewhere, as names can.
        return server is not None and not ip_address(server[0]).is_loopback
    except ValueError:
        return False


def _is_own(origin: str, authority: tuple[str, int | None] | None, hosts: Collection[str]) -> bool:
    """Whether pages of an origin are this server's own: it names the same host and port as the request, or a host that
    the server was told to answer for, since a proxy may have changed `Host`."""
    try:
        url = urlsplit(origin)
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(url.scheme)
    sender = _authority(url.netloc)
    if sender is None or default is None:
        return False
    if sender[0] in {host.lower().strip("[]") for host in hosts}:
        return True
    return authority is not None and (sender[0], sender[1] or default) == (authority[0], authority[1] or default)


def _is_link(method: str, headers: dict[bytes, str]) -> bool:
    """Whether somebody followed a link on a page of another site."""
    return (
        method in ("GET", "HEAD")
        and headers.get(b"sec-fetch-mode") == "navigate"
        and headers.get(b"sec-fetch-dest") == "document"
    )
