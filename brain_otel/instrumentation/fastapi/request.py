"""A request of a FastAPI app while it is served: its local trace, its route and its facts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from opentelemetry.instrumentation import fastapi as contrib
from opentelemetry.trace import Span
from opentelemetry.util.http import sanitize_method
from starlette.routing import Route
from starlette.types import Message, Receive, Scope

from brain_otel.instrumentation.fast_span import set_new_attribute
from brain_otel.runtime.guard import guarded
from brain_otel.traces.local_trace import LocalTrace, Name, Request

SCOPE_KEY = "brain_otel.request"
"""In the ASGI scope, the :class:`RequestInProgress`."""

MAX_BODY = 10_000
"""Bytes of a body that are kept for an error, as in Sentry's SDKs."""


class RequestInProgress:
    """One request, from the outermost app to the innermost mounted one that it has reached so far."""

    def __init__(self, app: FastAPI, scope: Scope) -> None:
        self.trace = LocalTrace(kind="request", describe=self.name, describe_request=self.facts)
        self._scope = scope
        self._apps = [(app, _root_path(app, scope))]
        self._route: tuple[int, str | None] | None = None
        self._name: tuple[str, Name] | None = None
        self._body: bytearray | None = None
        self.passing: Exception | None = None
        """The exception that has left the routes or a middleware, which another middleware may still answer."""

    def leave(self) -> None:
        """The request has been served: break the reference cycles, so that the garbage collector need not."""
        self._scope.pop(SCOPE_KEY, None)
        self.passing = None
        del self.trace

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
        root = self.trace.root
        if rename and root is not None and root.is_recording():
            route = self.route()
            root.update_name(self.name().text)
            if route is not None:
                root.set_attribute("http.route", route)

    def route(self) -> str | None:
        """The route's template with the prefixes of mounted apps; None if no route matches."""
        if self._route is None or self._route[0] != len(self._apps):
            self._route = (len(self._apps), self._find_route())
        return self._route[1]

    def name_span(self, span: Span) -> None:
        """Name the recorded root ``span`` after the route, unless the application has named it."""
        route = self.route()
        if route is not None and span.is_recording() and getattr(span, "name", None) == self.method():
            span.update_name(self.name().text)
            set_new_attribute(span, "http.route", route)

    def method(self) -> str:
        """The name of a span whose route is not known yet: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#name."""
        method = sanitized_method(str(self._scope.get("method", "")).strip())
        return "HTTP" if method == "_OTHER" else method

    def _find_route(self) -> str | None:
        if len(self._apps) == 1 and self._scope.get("root_path", "") == self._apps[0][1]:  # else it is mounted
            chosen = _chosen_route(self._scope)
            if chosen is not None:
                return chosen
        parts: list[str] = []
        for app, root_path in self._apps:
            part = _find_route({**self._scope, "app": app, "root_path": root_path})
            if part is None:
                break
            parts.append(part.rstrip("/") if len(parts) + 1 < len(self._apps) else part)
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
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope.get("headers") or ():
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
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


@lru_cache(maxsize=64)
def sanitized_method(method: str) -> str:
    """OpenTelemetry's word for a request's method; its own function reads the environment at each call."""
    return sanitize_method(method)


def _find_route(scope: Scope) -> str | None:
    """The route that matches ``scope``, as contrib finds it in every version of FastAPI.

    Contrib has no public function for it; without the private one, the span keeps its name without the route.
    """
    find = getattr(contrib, "_get_route_details", None)
    return None if find is None else find(scope)


def _chosen_route(scope: Scope) -> str | None:
    """The route that the app's router has chosen; None before that, or if it does not give the whole path.

    Searching for it again would cost as much as the routing. FastAPI keeps the path of a route of an included router,
    with its prefix, in ``scope["fastapi"]``; a test notices when that changes.
    """
    route = scope.get("route")
    if not isinstance(route, Route) or (route.methods and scope.get("method") not in route.methods):
        return None
    included = (scope.get("fastapi") or {}).get("effective_route_context")
    chosen = route if included is None else included.starlette_route or included
    return str(chosen.path)


def _root_path(app: FastAPI, scope: Scope) -> str:
    """The root path with which ``app`` routes; its own setting takes precedence over the server's."""
    return str(app.root_path or scope.get("root_path", ""))
