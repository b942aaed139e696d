"""Reads a span's operation, description and name from OpenTelemetry's semantic conventions. Pure functions.

Both the old and the stable conventions are supported, because a service may mix libraries that write either:
https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/ and the page on databases beside it.
Operations are Sentry's `span operations <https://develop.sentry.dev/sdk/telemetry/traces/span-operations/>`_; the
console uses them too.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind

from brain_otel.traces.local_trace import LocalTrace, Name

Attributes = Mapping[str, Any]


OP_ATTRIBUTE = "sentry.op"
"""The op of a span, set by ``start_span`` and ``start_transaction``."""

SOURCE_ATTRIBUTE = "sentry.source"
"""The transaction source, for the application to set."""

BREADCRUMB_EVENT = "breadcrumb"
"""The name of the span event that ``add_breadcrumb`` adds; Sentry gets the breadcrumb itself."""


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


def db_system(attributes: Attributes) -> str | None:
    """The database's kind, such as ``postgresql`` or ``redis``, in either convention."""
    system = attributes.get("db.system.name")
    if system is None:
        system = attributes.get("db.system")
    return str(system) if system is not None else None


def operation(span: ReadableSpan) -> str:
    """The Sentry op of ``span``."""
    attributes = span.attributes or {}
    explicit = attributes.get(OP_ATTRIBUTE)
    if explicit is not None:
        return str(explicit)
    if http_method(attributes) is not None:
        return "http.client" if span.kind is SpanKind.CLIENT else "http.server"
    system = db_system(attributes)
    if system is not None:
        return _database_operation(span, system)
    if span.kind is SpanKind.SERVER:
        # An ASGI server span without a method belongs to a WebSocket.
        return "websocket.server" if "rpc.system" not in attributes else "rpc.server"
    if "gen_ai.operation.name" in attributes:
        return "gen_ai." + str(attributes["gen_ai.operation.name"])
    if span.kind in (SpanKind.PRODUCER, SpanKind.CONSUMER):
        return "queue.publish" if span.kind is SpanKind.PRODUCER else "queue.process"
    if "rpc.system" in attributes:
        return "rpc"
    if span.name.startswith("BackgroundTask ") or span.name == "fastapi.background_task":
        return "background_task"
    return "function"


def _database_operation(span: ReadableSpan, system: str) -> str:
    if system == "redis":
        return "db.redis"
    if span.name == "connect" and statement(span.attributes or {}) is None:
        return "db.connection"
    return "db"


def statement(attributes: Attributes) -> str | None:
    """The SQL text or Redis command in either convention."""
    text = first(attributes, "db.query.text", "db.statement")
    return str(text) if text else None


def description(span: ReadableSpan) -> str:
    """The description of ``span`` in Sentry: the statement, the method and address, or its name."""
    attributes = span.attributes or {}
    method = http_method(attributes)
    if method is not None and span.kind is SpanKind.CLIENT:
        url = first(attributes, "url.full", "http.url")
        return f"{method} {_without_query(str(url))}" if url else f"{method} {span.name}"
    if method is not None:
        return transaction_name(span.name, attributes).text
    return statement(attributes) or span.name


def transaction_name(name: str, attributes: Attributes) -> Name:
    """The name and source of a transaction whose root span has ``name``."""
    explicit = attributes.get(SOURCE_ATTRIBUTE)
    if explicit is not None:
        return Name(text=name, source=str(explicit))
    method = http_method(attributes)
    route = attributes.get("http.route")
    if route is not None and method is None and name in (f"HTTP {route}", f"WS {route}"):
        # A WebSocket has no method; contrib and FastAPI write these words instead.
        return Name(text=str(route), source="route")
    if route is not None:
        expected = (str(route), f"{method} {route}", f"HTTP {route}")
        return Name(text=name, source="route" if name in expected else "custom")
    if method is None:
        return Name(text=name, source="custom")
    if name not in (method, "HTTP"):
        return Name(text=name, source="custom")
    path = first(attributes, "url.path", "http.target", "url.full", "http.url")
    return Name(text=f"{method} {_path(str(path))}" if path else name, source="url")


def name_of(trace: LocalTrace) -> Name | None:
    """The current name of ``trace``: from its root span if that is recorded and has a name, else described."""
    if isinstance(trace.root, SdkSpan):
        attributes = raw_attributes(trace.root)
        is_named = "http.route" in attributes or trace.root.name not in (http_method(attributes), "HTTP")
        if is_named or trace.describe is None:
            return transaction_name(trace.root.name, attributes)
    return trace.describe() if trace.describe is not None else None


@lru_cache(maxsize=1_024)
def _without_query(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path


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
