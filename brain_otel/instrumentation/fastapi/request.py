"""A request of a FastAPI app while it runs: its local trace, its route and its facts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

# Contrib's own way to find a route in every version of FastAPI; a test tells when it changes.
from opentelemetry.instrumentation.fastapi import _get_route_details
from opentelemetry.util.http import sanitize_method
from starlette.routing import Route

from brain_otel.instrumentation.fast_span import set_new_attribute
from brain_otel.runtime.guard import guarded
from brain_otel.traces.local_trace import LocalTrace, Name, Request

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.trace import Span
    from starlette.types import Message, Receive, Scope

SCOPE_KEY = "brain_otel.request"
"""In the ASGI scope, the :class:`RequestInProgress`."""


MAX_BODY = 10_000
"""Bytes of a body that are kept for an error; what Sentry's SDKs keep as they come."""


class RequestInProgress:
    """One request, from the outermost app to the innermost mounted one that it has reached so far."""

    def __init__(self, app: FastAPI, scope: Scope) -> None:
        self.trace = LocalTrace(kind="request", describe=self.name, describe_request=self.facts)
        self._scope = scope
        self._apps = [(app, _root_path(app, scope))]
        self._route: tuple[int, str | None] | None = None
        self._name: tuple[str, Name] | None = None
        self._body: bytearray | None = None

    def leave(self) -> None:
        """The request has been served: hold nothing that holds this, or each request would wait for the collector."""
        self._scope.pop(SCOPE_KEY, None)
        del self.trace

    def observed(self, receive: Receive) -> Receive:
        """``receive``, of whose messages the body is kept, as far as the application asks for it."""
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
        """The request goes on in a mounted ``app``: ``rename`` its span after the route of both."""
        self._apps.append((app, _root_path(app, scope)))
        root = self.trace.root
        if rename and root is not None and root.is_recording():
            route = self.route()
            root.update_name(self.name().text)
            if route is not None:
                root.set_attribute("http.route", route)

    def route(self) -> str | None:
        """The route's template with the prefixes of mounted apps, or None if no route matches."""
        if self._route is None or self._route[0] != len(self._apps):
            self._route = (len(self._apps), self._find_route())
        return self._route[1]

    def name_span(self, span: Span) -> None:
        """Name the recorded root ``span`` after the route, unless the application has given it a name meanwhile."""
        route = self.route()
        if route is not None and span.is_recording() and getattr(span, "name", None) == self.method():
            span.update_name(self.name().text)
            set_new_attribute(span, "http.route", route)

    def method(self) -> str:
        """What a span is called before its route is known: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#name."""
        method = sanitized_method(str(self._scope.get("method", "")).strip())
        return "HTTP" if method == "_OTHER" else method

    def _find_route(self) -> str | None:
        if len(self._apps) == 1 and self._scope.get("root_path", "") == self._apps[0][1]:  # else it has been mounted
            routed = _routed(self._scope)
            if routed is not None:
                return routed
        parts: list[str] = []
        for app, root_path in self._apps:
            part = _get_route_details({**self._scope, "app": app, "root_path": root_path})
            if part is None:
                break
            parts.append(part.rstrip("/") if len(parts) + 1 < len(self._apps) else part)
        return "".join(parts) or None

    def name(self) -> Name:
        """The name as the instrumentation gives it to a recorded span, for one that is not recorded."""
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
        """The request in plain words."""
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
    """OpenTelemetry's word for a request's method, which looks at the environment each time."""
    return sanitize_method(method)


def _routed(scope: Scope) -> str | None:
    """The route that the app's router has chosen; None if it has not yet, or where that does not tell the whole path.

    To look for it once more costs as much as the routing. FastAPI keeps the path of a route of an included router,
    with the prefix, in a place of its own; a test tells when that changes.
    """
    route = scope.get("route")
    if not isinstance(route, Route) or (route.methods and scope.get("method") not in route.methods):
        return None
    included = (scope.get("fastapi") or {}).get("effective_route_context")
    chosen = route if included is None else included.starlette_route or included
    return str(chosen.path)


def _root_path(app: FastAPI, scope: Scope) -> str:
    """The root path that ``app`` will route with; its own setting comes before the server's."""
    return str(app.root_path or scope.get("root_path", ""))
