"""OpenTelemetry's semantic conventions in Sentry's words: op, description, status, data, origin.

Old and new (stable) conventions are both understood, since a service may mix libraries that write either:
https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/ and the database one beside it. The
targets are Sentry's `span operations <https://develop.sentry.dev/sdk/telemetry/traces/span-operations/>`_, its
`span status <https://develop.sentry.dev/sdk/event-payloads/contexts/#trace-context>`_ and its
`trace origin <https://develop.sentry.dev/sdk/telemetry/traces/trace-origin/>`_. Pure functions; the OTel
attributes themselves are all kept in ``data``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind, StatusCode
from sentry_sdk.consts import OP, SPANSTATUS
from sentry_sdk.tracing import get_span_status_from_http_code

from brain_otel.local_trace import Name
from brain_otel.privacy import masked_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link

    from brain_otel.local_trace import LocalTrace

    Attributes = Mapping[str, Any]

OP_ATTRIBUTE = "sentry.op"
"""Set by ``start_span`` and ``start_transaction``: the op in so many words."""

SOURCE_ATTRIBUTE = "sentry.source"
"""Set by ``start_transaction``: the transaction source in so many words."""

BREADCRUMB_EVENT = "breadcrumb"
"""The name of the span event that ``add_breadcrumb`` makes; Sentry has the breadcrumb itself."""

_STATUSES = frozenset(value for name, value in vars(SPANSTATUS).items() if name.isupper())

# Sentry's own names for what both conventions say, as sentry-sdk's SPANDATA has them.
_SENTRY_NAMES = {
    "http.request.method": ("http.request.method", "http.method"),
    "http.response.status_code": ("http.response.status_code", "http.status_code"),
    "db.system": ("db.system.name", "db.system"),
    "db.name": ("db.namespace", "db.name"),
    "db.operation": ("db.operation.name", "db.operation"),
    "server.address": ("server.address", "net.peer.name", "http.server_name"),
    "server.port": ("server.port", "net.peer.port"),
}

_GRPC_STATUSES = (
    SPANSTATUS.OK,
    SPANSTATUS.CANCELLED,
    SPANSTATUS.UNKNOWN_ERROR,
    SPANSTATUS.INVALID_ARGUMENT,
    SPANSTATUS.DEADLINE_EXCEEDED,
    SPANSTATUS.NOT_FOUND,
    SPANSTATUS.ALREADY_EXISTS,
    SPANSTATUS.PERMISSION_DENIED,
    SPANSTATUS.RESOURCE_EXHAUSTED,
    SPANSTATUS.FAILED_PRECONDITION,
    SPANSTATUS.ABORTED,
    SPANSTATUS.OUT_OF_RANGE,
    SPANSTATUS.UNIMPLEMENTED,
    SPANSTATUS.INTERNAL_ERROR,
    SPANSTATUS.UNAVAILABLE,
    SPANSTATUS.DATA_LOSS,
    SPANSTATUS.UNAUTHENTICATED,
)


def first(attributes: Attributes, *names: str) -> Any:
    """The value of the first of ``names`` that is there, else None."""
    for name in names:
        value = attributes.get(name)
        if value is not None:
            return value
    return None


def http_method(attributes: Attributes) -> str | None:
    """The request's method in either convention."""
    method = first(attributes, "http.request.method", "http.method")
    return str(method) if method is not None else None


def db_system(attributes: Attributes) -> str | None:
    """The database's kind, such as ``postgresql`` or ``redis``, in either convention."""
    system = first(attributes, "db.system.name", "db.system")
    return str(system) if system is not None else None


def operation(span: ReadableSpan) -> str:
    """The Sentry op of ``span``."""
    attributes = span.attributes or {}
    explicit = attributes.get(OP_ATTRIBUTE)
    if explicit is not None:
        return str(explicit)
    if http_method(attributes) is not None:
        return OP.HTTP_CLIENT if span.kind is SpanKind.CLIENT else OP.HTTP_SERVER
    system = db_system(attributes)
    if system is not None:
        return _database_operation(span, system)
    if span.kind is SpanKind.SERVER:
        # An ASGI server span without a method is a WebSocket's.
        return OP.WEBSOCKET_SERVER if "rpc.system" not in attributes else "rpc.server"
    if "gen_ai.operation.name" in attributes:
        return "gen_ai." + str(attributes["gen_ai.operation.name"])
    if span.kind in (SpanKind.PRODUCER, SpanKind.CONSUMER):
        return OP.QUEUE_PUBLISH if span.kind is SpanKind.PRODUCER else OP.QUEUE_PROCESS
    if "rpc.system" in attributes:
        return "rpc"
    if span.name.startswith("BackgroundTask ") or span.name == "fastapi.background_task":
        return "background_task"
    return OP.FUNCTION


def _database_operation(span: ReadableSpan, system: str) -> str:
    if system == "redis":
        return OP.DB_REDIS
    if span.name == "connect" and statement(span.attributes or {}) is None:
        return "db.connection"
    return OP.DB


def statement(attributes: Attributes) -> str | None:
    """The SQL text or Redis command in either convention."""
    text = first(attributes, "db.query.text", "db.statement")
    return str(text) if text else None


def description(span: ReadableSpan) -> str:
    """What Sentry shows of ``span``: the statement, the method and address, or its name."""
    attributes = span.attributes or {}
    method = http_method(attributes)
    if method is not None and span.kind is SpanKind.CLIENT:
        url = first(attributes, "url.full", "http.url")
        return f"{method} {_without_query(str(url))}" if url else f"{method} {span.name}"
    if method is not None:
        return transaction_name(span.name, attributes).text
    return statement(attributes) or span.name


def transaction_name(name: str, attributes: Attributes) -> Name:
    """The name of a transaction whose root span is called ``name``, and its source."""
    explicit = attributes.get(SOURCE_ATTRIBUTE)
    if explicit is not None:
        return Name(text=name, source=str(explicit))
    method = http_method(attributes)
    route = attributes.get("http.route")
    if route is not None and method is None and name in (f"HTTP {route}", f"WS {route}"):
        # A WebSocket has no method; contrib and FastAPI write these words in its place.
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
    """The name of ``trace`` as it is known now: from its root span if that is recorded, else described."""
    if isinstance(trace.root, SdkSpan):
        return transaction_name(trace.root.name, trace.root.attributes or {})
    return trace.describe() if trace.describe is not None else None


def status(span: ReadableSpan) -> str:
    """The Sentry status of ``span``: the HTTP or gRPC status if there is one, else OpenTelemetry's."""
    attributes = span.attributes or {}
    code = first(attributes, "http.response.status_code", "http.status_code")
    failed = span.status.status_code is StatusCode.ERROR
    if isinstance(code, int):
        by_code = str(get_span_status_from_http_code(code))
        if by_code != SPANSTATUS.OK or not failed:
            return by_code
    grpc = attributes.get("rpc.grpc.status_code")
    if isinstance(grpc, int) and 0 <= grpc < len(_GRPC_STATUSES):
        return _GRPC_STATUSES[grpc]
    if not failed:
        return SPANSTATUS.OK
    words = span.status.description or ""
    return words if words in _STATUSES else SPANSTATUS.INTERNAL_ERROR


def data(span: ReadableSpan, *, send_default_pii: bool = False) -> dict[str, Any]:
    """The span's attributes under both names, its kind, events and status description."""
    attributes = masked_attributes(span.attributes or {}, send_default_pii=send_default_pii)
    result = {key: _plain(value) for key, value in attributes.items() if not key.startswith("sentry.")}
    for name, sources in _SENTRY_NAMES.items():
        value = first(attributes, *sources)
        if value is not None:
            result.setdefault(name, _plain(value))
    if span.kind is not SpanKind.INTERNAL:
        result["otel.kind"] = span.kind.name
    if span.status.description:
        result["otel.status_description"] = span.status.description
    if events := [_event(event) for event in span.events if event.name != BREADCRUMB_EVENT]:
        result["otel.events"] = events
    if span.dropped_attributes:
        result["otel.dropped_attributes_count"] = span.dropped_attributes
    return result


def links(span: ReadableSpan) -> list[dict[str, Any]]:
    """The span's links as Sentry's protocol has them."""
    return [_link(link) for link in span.links]


def origin(span: ReadableSpan) -> str:
    """Where the span came from: ``auto.<category>.otel.<library>``, or ``manual`` for the application's own."""
    attributes = span.attributes or {}
    scope = span.instrumentation_scope
    name = scope.name if scope is not None else ""
    library = name.rpartition("opentelemetry.instrumentation.")[2] if "instrumentation" in name else name
    if library not in ("fastapi",) and "opentelemetry.instrumentation." not in name:
        return "manual"
    if http_method(attributes) is not None or span.kind is SpanKind.SERVER:
        category = "http"
    elif db_system(attributes) is not None:
        category = "db"
    else:
        category = "function"
    return f"auto.{category}.otel.{library.split('.')[0]}"


def _event(event: Event) -> dict[str, Any]:
    attributes = {key: _plain(value) for key, value in (event.attributes or {}).items()}
    return {"name": event.name, "timestamp": event.timestamp / 1e9, "attributes": attributes}


def _link(link: Link) -> dict[str, Any]:
    result: dict[str, Any] = {
        "trace_id": f"{link.context.trace_id:032x}",
        "span_id": f"{link.context.span_id:016x}",
        "sampled": link.context.trace_flags.sampled,
    }
    if link.attributes:
        result["attributes"] = {key: _plain(value) for key, value in link.attributes.items()}
    return result


def _plain(value: Any) -> Any:
    """An attribute's value as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


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
