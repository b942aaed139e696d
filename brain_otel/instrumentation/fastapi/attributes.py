"""The attributes of a request's span, and its headers.

Contrib's ``server.address`` has the port in it, and names the socket where the client names a host. Its WebSockets
have no method.
"""

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.instrumentation import asgi as contrib
from opentelemetry.propagators.textmap import Getter
from opentelemetry.util.http import detect_synthetic_user_agent
from starlette.types import Scope

from brain_otel.configuration.sections.propagation import DEFAULT_PORTS
from brain_otel.instrumentation.fastapi.request import (
    SCOPE_KEY,
    RequestInProgress,
    handshake_method,
    sanitized_method,
)
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement

_MAX_CACHED = 1_024
"""Characters; a longer user agent or host, which anyone may send, is not cached."""

_WEB = {"ws": "http", "wss": "https"}


def patch_attributes(patches: Patches) -> None:
    """Correct what contrib's middleware makes of a request."""
    patches.replace(contrib, "collect_request_attributes", _corrected)
    patches.replace(contrib, "_collect_target_attribute", _route)


@replacement
def _corrected(original: Original, /, scope: Scope, *args: Any, **kwargs: Any) -> dict[str, Any]:
    if scope["type"] == "websocket":
        scope = {**scope, "method": handshake_method(scope)}
    found: dict[str, Any] = original(scope, *args, **kwargs)
    with guarded("describing the server of a request"):
        if found.pop("server.address", None) is not None:  # not in the old conventions
            host = next((value for name, value in scope.get("headers") or () if name.lower() == b"host"), None)
            address, port = server_of(scope, host)
            named = {"server.address": address, "server.port": port}
            found.pop("server.port", None)
            found |= {name: value for name, value in named.items() if value}
    return found


@replacement
def _route(original: Original, scope: Scope) -> Any:
    """Contrib joins the route with the path of the mount, of which it does not know the template."""
    with guarded("finding a request's route"):
        request = scope.get(SCOPE_KEY)
        if isinstance(request, RequestInProgress):
            return request.route()
    return original(scope)


def server_of(scope: Scope, host: bytes | None) -> tuple[str | None, int | None]:
    """The server's name and port: from the header ``host`` as the client sent it, else of the socket.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#setting-serveraddress-and-serverport-attributes
    """
    found = None
    if host is not None and len(host) <= _MAX_CACHED:
        found = _authority(host, str(scope.get("scheme")))
    return found or scope.get("server") or (None, None)


@lru_cache(maxsize=256)
def _authority(host: bytes, scheme: str) -> tuple[str, int | None] | None:
    """The name and port in a header ``host``; None if it is malformed."""
    try:
        parts = urlsplit("//" + host.decode("ascii"))
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        return None
    return name, port or DEFAULT_PORTS.get(_WEB.get(scheme, scheme))


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request by name in lower case; the first of those with the same name."""
    found: dict[bytes, bytes] = {}
    for name, value in scope.get("headers") or ():
        found.setdefault(name.lower(), value)
    return found


def request_attributes(scope: Scope, headers: dict[bytes, bytes] | None = None) -> dict[str, Any]:
    """The attributes that contrib's ``collect_request_attributes`` collects, in the stable conventions alone.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span

    Args:
        scope: The ASGI scope of the request.
        headers: The result of :func:`headers_of`, if the caller has it.
    """
    client = scope.get("client")
    query = scope.get("query_string")
    headers = headers_of(scope) if headers is None else headers
    address, port = server_of(scope, headers.get(b"host"))
    found: dict[str, Any] = {
        "url.scheme": scope.get("scheme"),
        "server.address": address,
        "server.port": port,
        "network.protocol.version": scope.get("http_version"),
        "url.path": scope.get("path"),
        **_method(scope.get("method") or ""),
    }
    if query and found["url.path"]:
        found["url.query"] = query.decode("utf-8", "replace") if isinstance(query, bytes) else query
    if agent := _decoded(headers.get(b"user-agent", b"")):
        found["user_agent.original"] = agent
        found["user_agent.synthetic.type"] = (
            _synthetic(agent) if len(agent) <= _MAX_CACHED else detect_synthetic_user_agent(agent)
        )
    if client is not None:
        found["client.address"], found["client.port"] = client[0], client[1]
    return {name: value for name, value in found.items() if value}


@lru_cache(maxsize=64)
def _method(given: str) -> dict[str, str]:
    if not given:
        return {}
    original, method = given.strip(), sanitized_method(given)
    found = {"http.request.method": method}
    return found if original == method else {**found, "http.request.method_original": original}


@lru_cache(maxsize=1_024)
def _synthetic(agent: str) -> str | None:
    return detect_synthetic_user_agent(agent)


class _Headers(Getter["Scope"]):
    """Gets headers from an ASGI scope; contrib's getter decodes all of them for each one."""

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        """The values of one header; None if it is missing."""
        wanted = key.lower().encode()
        found = [_decoded(value) for name, value in carrier.get("headers") or () if name.lower() == wanted]
        return found or None

    def keys(self, carrier: Scope) -> list[str]:
        """The names of all headers."""
        return [_decoded(name) for name, _ in carrier.get("headers") or ()]


HEADERS = _Headers()


def _decoded(text: bytes) -> str:
    """As UTF-8, else byte by byte; contrib reads the escapes of Python in other bytes, and may raise."""
    try:
        return text.decode()
    except ValueError:
        return text.decode("latin-1")
