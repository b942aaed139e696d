"""Reads a span's facts and name from OpenTelemetry's semantic conventions. Pure functions.

Both the old and the stable conventions are supported, because a service may mix libraries that write either:
https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/ and the page on databases beside it.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan

from brain_otel.traces.local_trace import LocalTrace, Name
from brain_otel.traces.scope import OP_ATTRIBUTE

Attributes = Mapping[str, Any]


SOURCE_ATTRIBUTE = "sentry.source"
"""The transaction source, for the application to set."""


GRPC_STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
"""By their numbers: https://grpc.github.io/grpc/core/md_doc_statuscodes.html."""


def first(attributes: Attributes, *names: str) -> Any:
    """The value of the first of ``names`` that is set, else None."""
    for name in names:
        value = attributes.get(name)
        if value is not None:
            return value
    return None


def http_method(attributes: Attributes) -> str | None:
    """The request's method in either convention."""
    method = attributes.get("http.request.method")
    if method is None:
        method = attributes.get("http.method")
    return str(method) if method is not None else None


def is_websocket(attributes: Attributes) -> bool:
    """Whether the span is of a WebSocket, from its handshake to its close."""
    scheme = first(attributes, "url.scheme", "http.scheme")
    return scheme in ("ws", "wss") or attributes.get("network.protocol.name") == "websocket"


def db_system(attributes: Attributes) -> str | None:
    """The database's kind, such as ``postgresql`` or ``redis``, in either convention."""
    system = attributes.get("db.system.name")
    if system is None:
        system = attributes.get("db.system")
    return str(system) if system is not None else None


def statement(attributes: Attributes) -> str | None:
    """The SQL text or Redis command in either convention."""
    text = first(attributes, "db.query.text", "db.statement")
    return str(text) if text else None


def transaction_name(name: str, attributes: Attributes) -> Name:
    """The name and source of a transaction whose root span has ``name``."""
    explicit = attributes.get(SOURCE_ATTRIBUTE)
    if explicit is not None:
        return Name(text=name, source=str(explicit))
    method = http_method(attributes)
    route = attributes.get("http.route")
    if is_websocket(attributes) and name.partition(" ")[2] in ("", route):
        return (
            Name(text=str(route), source="route") if route is not None else Name(_path_of(attributes) or name, "url")
        )
    if route is not None:
        expected = (str(route), f"{method} {route}", f"HTTP {route}")
        return Name(text=name, source="route" if name in expected else "custom")
    if method is None:
        return Name(text=name, source="task" if attributes.get(OP_ATTRIBUTE) == "queue.task" else "custom")
    if name not in (method, "HTTP"):
        return Name(text=name, source="custom")
    path = _path_of(attributes)
    return Name(text=f"{method} {path}" if path else name, source="url")


def _path_of(attributes: Attributes) -> str | None:
    path = first(attributes, "url.path", "http.target", "url.full", "http.url")
    return _path(str(path)) if path else None


def name_of(trace: LocalTrace) -> Name | None:
    """The current name of ``trace``: from its root span if that is recorded and has a name, else described."""
    if isinstance(trace.root, SdkSpan):
        attributes = raw_attributes(trace.root)
        is_named = "http.route" in attributes or trace.root.name not in (http_method(attributes), "HTTP")
        if is_named or trace.describe is None:
            return transaction_name(trace.root.name, attributes)
    return trace.describe() if trace.describe is not None else None


def _path(target: str) -> str:
    try:
        return urlsplit(target).path or "/"
    except ValueError:
        return target.partition("?")[0]


def raw_attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """``span.attributes`` without the two views that OpenTelemetry puts around them; do not keep or change them."""
    try:
        attributes = span._attributes
        return attributes._dict if type(attributes) is BoundedAttributes else attributes or {}
    except AttributeError:  # upstream has renamed one of the two
        return span.attributes or {}


def has_events_or_links(span: ReadableSpan) -> bool:
    """Whether ``span`` has events or links; the public properties copy all of them."""
    try:
        return bool(span._events or span._links)
    except AttributeError:  # upstream has renamed one of the two
        return bool(span.events or span.links)
