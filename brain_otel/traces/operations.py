"""How Sentry's views read the spans of OpenTelemetry's semantic conventions: one table of op, description and data.

Operations are those of Sentry's `conventions <https://getsentry.github.io/sentry-conventions/ops/>`_ and of
sentry-sdk; the console uses them too. Old and stable names are read, because a service may mix libraries that write
either.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.traces.conventions import (
    Attributes,
    db_system,
    first,
    http_method,
    is_websocket,
    statement,
    transaction_name,
)
from brain_otel.traces.scope import OP_ATTRIBUTE

CACHE = "brain_otel.cache."
"""Prefix of the attributes of a call to a cache: ``operation``, ``key``, ``hit`` and ``item_size``."""

MESSAGING = "brain_otel.messaging."
"""Prefix of the attributes of a message that the registry has no name for."""

LATENCY, RETRIES = MESSAGING + "receive_latency", MESSAGING + "retry_count"
"""Attributes of a task's span: milliseconds from sending to the start, and how many runs came before."""


class Convention(NamedTuple):
    """The spans of one semantic convention in Sentry."""

    keys: tuple[str, ...]
    """A span with one of these attributes follows the convention."""
    op: Callable[[SpanKind, Attributes], str]
    category: str
    """The middle of the span's `origin <https://develop.sentry.dev/sdk/telemetry/traces/trace-origin/>`_."""
    description: Callable[[ReadableSpan, Attributes], str | None] = lambda _span, _attributes: None
    """None: the span's name."""
    names: tuple[tuple[str, str], ...] = ()
    """Attributes, each with Sentry's name for the same."""
    derived: Callable[[Attributes], Mapping[str, Any]] = lambda _attributes: {}
    """What the views read besides."""


_CACHE_OPS = ("cache.get", "cache.put", "cache.remove")
"""Names of spans to which the application gives no description."""


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    return [str(each) for each in values]


def _cache_description(span: ReadableSpan, attributes: Attributes) -> str | None:
    return ", ".join(_texts(attributes["cache.key"])) if span.name in _CACHE_OPS else None


def _http_op(kind: SpanKind, attributes: Attributes) -> str:
    if is_websocket(attributes):
        return "websocket"
    return "http.client" if kind is SpanKind.CLIENT else "http.server"


def _http_description(span: ReadableSpan, attributes: Attributes) -> str | None:
    method = http_method(attributes)
    if method is None or span.kind is not SpanKind.CLIENT:
        return transaction_name(span.name, attributes).text
    url = first(attributes, "url.full", "http.url")
    return f"{method} {_without_query(str(url)) if url else span.name}"


def _mcp_op(kind: SpanKind, attributes: Attributes) -> str:
    if not str(attributes["mcp.method.name"]).startswith("notifications/"):
        return "mcp.server" if kind is SpanKind.SERVER else "rpc"
    return "mcp.notification.client_to_server"


def _mcp_description(_span: ReadableSpan, attributes: Attributes) -> str:
    target = first(attributes, "gen_ai.tool.name", "gen_ai.prompt.name", "mcp.resource.uri")
    return f"{attributes['mcp.method.name']} {target or ''}".rstrip()


_AI_TYPES = {"invoke_agent": "agent", "create_agent": "agent", "execute_tool": "tool", "handoff": "handoff"}


def _ai_data(attributes: Attributes) -> dict[str, Any]:
    found: dict[str, Any] = {"gen_ai.operation.type": _AI_TYPES.get(str(attributes[_AI_OPERATION]), "ai_client")}
    sent = first(attributes, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
    received = first(attributes, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
    if isinstance(sent, int) and isinstance(received, int):
        found["gen_ai.usage.total_tokens"] = sent + received
    return found


_AI_OPERATION = "gen_ai.operation.name"

_QUEUE_OPS = {
    **dict.fromkeys(("publish", "send"), "queue.publish"),
    **dict.fromkeys(("process", "deliver"), "queue.process"),
    **{name: f"queue.{name}" for name in ("create", "receive", "settle")},
}


def _queue_op(kind: SpanKind, attributes: Attributes) -> str:
    named = first(attributes, "messaging.operation.type", "messaging.operation")
    return _QUEUE_OPS.get(str(named)) or _OPS_BY_KIND.get(kind, "queue")


def _queue_description(_span: ReadableSpan, attributes: Attributes) -> str | None:
    if OP_ATTRIBUTE in attributes:
        return None  # the span is named after its task
    name = first(attributes, "messaging.destination.name", "messaging.destination")
    return str(name) if name else None


def _rpc_op(kind: SpanKind, attributes: Attributes) -> str:
    if first(attributes, "rpc.system.name", "rpc.system") != "grpc":
        return "rpc"
    return "grpc.server" if kind is SpanKind.SERVER else "grpc.client"


def _graphql_op(_kind: SpanKind, attributes: Attributes) -> str:
    kind = attributes.get("graphql.operation.type")
    return f"graphql.{kind}" if kind in ("query", "mutation", "subscription") else "graphql.execute"


_CLOUDS = {"aws": "function.aws", "gcp": "function.gcp", "azure": "function.azure"}


def _faas_op(_kind: SpanKind, attributes: Attributes) -> str:
    provider = str(first(attributes, "faas.invoked_provider", "cloud.provider"))
    resource = str(first(attributes, "cloud.resource_id", "faas.id", "aws.lambda.invoked_arn"))
    return _CLOUDS.get(provider) or ("function.aws" if resource.startswith("arn:aws") else "function")


CONVENTIONS = (
    Convention(
        keys=(CACHE + "operation",),
        op=lambda _kind, attributes: f"cache.{attributes[CACHE + 'operation']}",
        category="db",
        description=lambda _span, attributes: ", ".join(_texts(attributes.get(CACHE + "key"))),
        names=(
            *((CACHE + name, "cache." + name) for name in ("key", "hit", "item_size")),
            ("server.address", "network.peer.address"),
            ("server.port", "network.peer.port"),
        ),
    ),
    Convention(
        keys=("cache.key",),  # of the application's own span
        op=lambda _kind, _attributes: "cache",
        category="db",
        description=_cache_description,
        derived=lambda attributes: {"cache.key": _texts(attributes["cache.key"])},
    ),
    Convention(
        keys=("mcp.method.name",),
        op=_mcp_op,
        category="mcp",
        description=_mcp_description,
    ),
    Convention(
        keys=("http.request.method", "http.method"),
        op=_http_op,
        category="http",
        description=_http_description,
        names=(
            ("http.method", "http.request.method"),
            ("http.status_code", "http.response.status_code"),
            ("http.server_name", "server.address"),
            ("net.peer.name", "server.address"),
            ("net.peer.port", "server.port"),
        ),
    ),
    Convention(
        keys=("db.system.name", "db.system"),
        op=lambda _kind, attributes: "db.redis" if db_system(attributes) == "redis" else "db",
        category="db",
        description=lambda _span, attributes: statement(attributes),
        names=(
            ("db.system.name", "db.system"),
            ("db.namespace", "db.name"),
            ("db.operation.name", "db.operation"),
            ("net.peer.name", "server.address"),
            ("net.peer.port", "server.port"),
        ),
    ),
    Convention(
        keys=(_AI_OPERATION,),
        op=lambda _kind, attributes: f"gen_ai.{attributes[_AI_OPERATION]}",
        category="ai",
        names=(
            ("gen_ai.system", "gen_ai.provider.name"),
            ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
            ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
        ),
        derived=_ai_data,
    ),
    Convention(
        keys=("messaging.system", "messaging.operation.type", "messaging.operation"),
        op=_queue_op,
        category="queue",
        description=_queue_description,
        names=(
            ("messaging.operation", "messaging.operation.type"),
            ("messaging.destination", "messaging.destination.name"),
            ("messaging.message_id", "messaging.message.id"),
            (LATENCY, "messaging.message.receive.latency"),
            (RETRIES, "messaging.message.retry.count"),
        ),
    ),
    Convention(
        keys=("graphql.operation.type", "graphql.operation.name", "graphql.document"),
        op=_graphql_op,
        category="graphql",
    ),
    Convention(
        keys=("rpc.system.name", "rpc.system"),
        op=_rpc_op,
        category="rpc",
        names=(("rpc.system", "rpc.system.name"), ("http.status_code", "http.response.status_code")),
    ),
    Convention(
        keys=("faas.trigger", "faas.name", "faas.invoked_name", "faas.invocation_id", "faas.execution"),
        op=_faas_op,
        category="function",
    ),
)
"""The first that a span follows counts."""

_HTTP = next(each for each in CONVENTIONS if each.category == "http")
"""FastAPI's own WebSockets have no method."""

_AI = next(each for each in CONVENTIONS if each.category == "ai")

_AI_REQUEST = frozenset({_AI_OPERATION, "url.full"})
"""Anthropic's client describes its call of a model and the HTTP request in one span."""

_OPS_BY_KIND = {SpanKind.PRODUCER: "queue.publish", SpanKind.CONSUMER: "queue.process"}

_OTHER = Convention(keys=(), op=lambda kind, _: _OPS_BY_KIND.get(kind, "function"), category="function")


def convention_of(attributes: Attributes) -> Convention:
    """The convention that a span with ``attributes`` follows."""
    found = _first_with(frozenset(attributes))
    return _HTTP if found is _OTHER and is_websocket(attributes) else found


@lru_cache(maxsize=1_024)
def _first_with(keys: frozenset[str]) -> Convention:
    if keys >= _AI_REQUEST:
        return _AI
    return next((each for each in CONVENTIONS if not keys.isdisjoint(each.keys)), _OTHER)


def operation(span: ReadableSpan) -> str:
    """The Sentry op of ``span``."""
    attributes = span.attributes or {}
    explicit = first(attributes, OP_ATTRIBUTE, "sentry.op")
    return str(explicit) if explicit is not None else convention_of(attributes).op(span.kind, attributes)


def description(span: ReadableSpan) -> str:
    """The description of ``span`` in Sentry: the statement, the method and address, or its name."""
    attributes = span.attributes or {}
    return convention_of(attributes).description(span, attributes) or span.name


@lru_cache(maxsize=1_024)
def _without_query(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path
