"""A request of a FastAPI app while it is served: its local trace, its route and its facts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from opentelemetry.trace import Span
from opentelemetry.util.http import sanitize_method
from starlette.types import Message, Receive, Scope

from brain_otel.instrumentation.fast_span import set_new_attribute
from brain_otel.instrumentation.fastapi.routes import chosen_route, find_route
from brain_otel.runtime.guard import caught, guarded
from brain_otel.traces.local_trace import LocalTrace, Name, Request

SCOPE_KEY = "brain_otel.request"
"""In the ASGI scope, the :class:`RequestInProgress`."""

MAX_BODY = 10_000
"""Bytes of a body that are kept for an error, as in Sentry's SDKs."""


def is_traced_by_parent(scope: Scope) -> bool:
    """Whether the app in which this one is mounted has started the request's span already."""
    request = scope.get(SCOPE_KEY)
    return isinstance(request, RequestInProgress) and request.trace.root is not None


def span_started(span: Span, scope: Scope) -> None:
    """The request's span has started, recorded or not."""
    try:
        request = scope.get(SCOPE_KEY)
        if isinstance(request, RequestInProgress):
            request.trace.start(span, None)
    except Exception as error:
        caught("finding a request's span", error)


_FACTS = ("type", "method", "path", "scheme", "server", "client", "headers", "query_string", "http_version")
"""Keys of the ASGI scope that are kept after a request has been served."""


def _facts_in(scope: Scope) -> Scope:
    return {name: scope[name] for name in _FACTS if name in scope}


class RequestInProgress:
    """One request, from the outermost app to the innermost mounted one that it has reached so far."""

    def __init__(self, app: FastAPI, scope: Scope) -> None:
        self.trace = LocalTrace(kind="request", describe=self.name, describe_request=self.facts)
        self._scope = scope
        self.routed = scope
        """The scope with which the request is routed; a middleware may have made another one."""
        self._apps = [(app, _root_path(app, scope))]
        self._route: tuple[tuple[int, Any], str | None] | None = None
        self._name: tuple[str, Name] | None = None
        self._body: bytearray | None = None
        self.given_name: str | None = None
        """The name with which the span has started; None: the method alone."""
        self.passing: Exception | None = None
        """The exception that has left the routes or a middleware, which another middleware may still answer."""

    def leave(self) -> None:
        """The request has been served: break the reference cycles, so that the garbage collector need not."""
        self._scope.pop(SCOPE_KEY, None)
        self.routed.pop(SCOPE_KEY, None)
        self.passing = None
        del self.trace
        if self._route is not None:  # else the route may still be looked for
            is_same = self.routed is self._scope
            self._scope = _facts_in(self._scope)
            self.routed = self._scope if is_same else _facts_in(self.routed)

    def observed(self, receive: Receive) -> Receive:
        """Wrap ``receive``: keep the part of the body that the application reads."""
        self._body = bytearray()

        async def receive_observed() -> Message:
            message = await receive()
            with guarded("keeping a request's body"):
                if self._body is not None and message["type"] == "http.request":
                    self._body += message.get("body") or b""
                    if len(self._body) > MAX_BODY:
                        self._body = None
            return message

        return receive_observed

    def enter(self, app: FastAPI, scope: Scope, *, rename: bool) -> None:
        """A mounted ``app`` takes the request over; if ``rename``, name the span after the routes of both."""
        self._apps.append((app, _root_path(app, scope)))
        self.routed = scope
        root = self.trace.root
        if rename and root is not None and root.is_recording():
            route = self.route()
            root.update_name(self.span_name())
            if route is not None:
                root.set_attribute("http.route", route)

    def follow(self, scope: Scope) -> None:
        """A middleware of the innermost app passes the request on, perhaps with another path in a new ``scope``."""
        app = self._apps[-1][0]
        self._apps[-1] = (app, _root_path(app, scope))
        self.routed = scope

    def route(self) -> str | None:
        """The route's template with the prefixes of mounted apps; None if no route matches."""
        key = (len(self._apps), self.routed.get("path"))
        if self._route is None or self._route[0] != key:
            self._route = (key, self._find_route())
        return self._route[1]

    def name_span(self, span: Span) -> None:
        """Name the recorded root ``span`` after the route, unless the application has named it or it has ended."""
        route = self.route()
        if route is not None and span.is_recording():
            method = self.method()
            if getattr(span, "name", None) == (self.given_name or method):
                span.update_name(f"{method} {route}")
            set_new_attribute(span, "http.route", route)

    def method(self) -> str:
        """The name of a span whose route is not known yet: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#name."""
        return span_method(self._scope)

    def span_name(self) -> str:
        """The name of the recorded span."""
        route = self.route()
        return self.method() if route is None else f"{self.method()} {route}"

    def _find_route(self) -> str | None:
        if len(self._apps) == 1 and self.routed.get("root_path", "") == self._apps[0][1]:  # else it is mounted
            chosen = chosen_route(self.routed)
            if chosen is not None:
                return chosen
        parts: list[str] = []
        for place, (app, root_path) in enumerate(self._apps, 1):
            end = self._apps[place][0].routes if place < len(self._apps) else None
            part = find_route(app.routes, {**self.routed, "app": app, "root_path": root_path}, end)
            if part is None:
                break
            parts.append(part.rstrip("/") if end is not None else part)
        return "".join(parts) or None

    def name(self) -> Name:
        """The local trace's name, equal to the name of a recorded span."""
        route = self.route()
        if self._name is not None and self._name[0] == route:
            return self._name[1]
        name = self._named(route)
        if route is not None:
            self._name = (route, name)
        return name

    def _named(self, route: str | None) -> Name:
        if self._scope["type"] == "websocket":
            return Name(text=route or str(self._scope.get("path", "")), source="route" if route else "url")
        method = self.method()
        if route is not None:
            return Name(text=f"{method} {route}" if method else route, source="route")
        return Name(text=f"{method} {self._scope.get('path', '')}".strip(), source="url")

    def facts(self) -> Request:
        """The request, free of ASGI."""
        scope: Any = self._scope
        headers = _decoded(scope.get("headers") or ())
        server = scope.get("server") or ("localhost", None)
        host = headers.get("host") or (f"{server[0]}:{server[1]}" if server[1] else server[0])
        client = scope.get("client")
        return Request(
            method=scope.get("method", "GET"),
            url=f"{scope.get('scheme', 'http')}://{host}{scope.get('path', '')}",
            query_string=(scope.get("query_string") or b"").decode("latin-1"),
            headers=headers,
            client_address=client[0] if client else None,
            body=bytes(self._body) if self._body else None,
        )


def _decoded(given: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; the values of one that comes more than once are joined."""
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in given:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            repeated.setdefault(name, [headers[name]]).append(value)
        else:
            headers[name] = value
    for name, values in repeated.items():
        headers[name] = ", ".join(values)
    return headers


def span_method(scope: Scope) -> str:
    """The method of a request as the name of its span has it; a WebSocket is one by the protocol of its handshake."""
    if scope["type"] == "websocket":
        return handshake_method(scope)
    method = sanitized_method(str(scope.get("method", "")).strip())
    return "HTTP" if method == "_OTHER" else method


def handshake_method(scope: Scope) -> str:
    """The method of a WebSocket's handshake, which ASGI leaves out: RFC 6455, and RFC 8441 from HTTP/2 on."""
    return "CONNECT" if str(scope.get("http_version", "")).startswith(("2", "3")) else "GET"


@lru_cache(maxsize=64)
def sanitized_method(method: str) -> str:
    """OpenTelemetry's word for a request's method; its own function reads the environment at each call."""
    return sanitize_method(method)


def _root_path(app: FastAPI, scope: Scope) -> str:
    """The root path with which ``app`` routes; its own setting takes precedence over the server's."""
    return str(app.root_path or scope.get("root_path", ""))
