"""Op, description and data of each convention, held against the ops and names that Sentry knows."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from sentry_sdk.consts import OP

from brain_otel.privacy import policy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.sentry.span_fields import data, origin
from brain_otel.traces import operations
from brain_otel.traces.operations import CONVENTIONS

CLIENT, SERVER, INTERNAL = SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL
PRODUCER, CONSUMER = SpanKind.PRODUCER, SpanKind.CONSUMER

OPS = frozenset(
    {"cache", "cache.get", "cache.put", "cache.remove", "db", "db.query", "http.client", "http.server", "websocket"}
    | {"rpc", "grpc", "graphql", "function", "function.aws", "function.gcp", "function.azure"}
    | {"gen_ai.chat", "gen_ai.execute_tool", "gen_ai.handoff", "gen_ai.invoke_agent", "gen_ai.embeddings"}
    | {"gen_ai.generate_content", "gen_ai.rerank", "mcp.server", "mcp.notification.client_to_server"}
    | {"mcp.notification.server_to_client", "queue", "queue.publish", "queue.create", "queue.receive"}
    | {"queue.process", "queue.settle"}
    | {value for name, value in vars(OP).items() if name.isupper()}
)
"""Of https://getsentry.github.io/sentry-conventions/ops/, those of services, and those of sentry-sdk."""

GRAPHQL = {"graphql.operation.type": "mutation", "graphql.operation.name": "Pay"}
AGENT = {"gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 4}
KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
CACHED = {"brain_otel.cache.operation": "get", "brain_otel.cache.key": ("cart:1", "cart:2")}


def span(name: str, kind: SpanKind, attributes: dict[str, Any], scope: str = "test") -> MaskedSpan:
    made: Any = TracerProvider(shutdown_on_exit=False).get_tracer(scope).start_span(name, None, kind, attributes)
    made.end()
    return MaskedSpan(made, policy())


CASES: list[tuple[str, SpanKind, dict[str, Any], str, str]] = [
    ("GET /a", SERVER, {"http.request.method": "GET"}, "http.server", "GET /a"),
    ("GET", CLIENT, {"http.request.method": "GET", "url.full": "http://b/c?d"}, "http.client", "GET http://b/c"),
    ("GET /ws", SERVER, {"http.request.method": "GET", "url.scheme": "wss", "http.route": "/ws"}, "websocket", "/ws"),
    ("WS /ws", SERVER, {"network.protocol.name": "websocket", "http.route": "/ws"}, "websocket", "/ws"),
    (
        "anthropic.messages.create",
        CLIENT,
        {**AGENT, "gen_ai.operation.name": "chat", "http.request.method": "POST", "url.full": "http://b/c"},
        "gen_ai.chat",
        "anthropic.messages.create",
    ),
    ("POST /c", SERVER, {"http.request.method": "POST", "gen_ai.operation.name": "chat"}, "http.server", "POST /c"),
    ("SELECT", CLIENT, {"db.system.name": "sqlite", "db.query.text": "SELECT 1"}, "db", "SELECT ?"),
    ("connect", CLIENT, {"db.system": "postgresql"}, "db", "connect"),
    ("GET s:1", CLIENT, {"db.system.name": "redis", "db.query.text": "GET a"}, "db.redis", "GET a"),
    ("GET s:1", CLIENT, {"db.system.name": "redis", **CACHED}, "cache.get", "cart:1, cart:2"),
    ("send orders", PRODUCER, {**KAFKA, "messaging.operation.type": "send"}, "queue.publish", "orders"),
    ("create orders", PRODUCER, {**KAFKA, "messaging.operation.type": "create"}, "queue.create", "orders"),
    ("receive orders", CLIENT, {**KAFKA, "messaging.operation.type": "receive"}, "queue.receive", "orders"),
    ("process orders", CONSUMER, {**KAFKA, "messaging.operation.type": "process"}, "queue.process", "orders"),
    ("ack orders", CLIENT, {**KAFKA, "messaging.operation.type": "settle"}, "queue.settle", "orders"),
    ("orders publish", PRODUCER, {**KAFKA, "messaging.operation": "publish"}, "queue.publish", "orders"),
    (
        "deliver",
        CONSUMER,
        {"messaging.system": "rabbitmq", "messaging.operation": "deliver"},
        "queue.process",
        "deliver",
    ),
    (
        "tasks",
        CONSUMER,
        {"messaging.destination.name": "tasks", "messaging.system": "redis"},
        "queue.process",
        "tasks",
    ),
    ("work", PRODUCER, {}, "queue.publish", "work"),
    ("Shop/Buy", SERVER, {"rpc.system.name": "grpc"}, "grpc.server", "Shop/Buy"),
    ("Shop/Buy", CLIENT, {"rpc.system": "grpc"}, "grpc.client", "Shop/Buy"),
    ("buy", SERVER, {"rpc.system.name": "jsonrpc"}, "rpc", "buy"),
    ("mutation Pay", SERVER, GRAPHQL, "graphql.mutation", "mutation Pay"),
    ("query", INTERNAL, {"graphql.document": "{a}"}, "graphql.execute", "query"),
    ("resize", SERVER, {"faas.trigger": "pubsub", "cloud.provider": "gcp"}, "function.gcp", "resize"),
    ("resize", CLIENT, {"faas.invoked_name": "resize", "faas.invoked_provider": "aws"}, "function.aws", "resize"),
    ("resize", SERVER, {"faas.trigger": "timer", "cloud.resource_id": "arn:aws:lambda:x"}, "function.aws", "resize"),
    ("resize", SERVER, {"faas.invocation_id": "7"}, "function", "resize"),
    ("chat gpt", CLIENT, {"gen_ai.operation.name": "chat", **AGENT}, "gen_ai.chat", "chat gpt"),
    ("run", INTERNAL, {"gen_ai.operation.name": "invoke_agent"}, "gen_ai.invoke_agent", "run"),
    ("tool", INTERNAL, {"gen_ai.operation.name": "execute_tool"}, "gen_ai.execute_tool", "tool"),
    (
        "tools/call sum",
        SERVER,
        {"mcp.method.name": "tools/call", "gen_ai.tool.name": "sum", "gen_ai.operation.name": "execute_tool"},
        "mcp.server",
        "tools/call sum",
    ),
    (
        "notifications/initialized",
        SERVER,
        {"mcp.method.name": "notifications/initialized"},
        "mcp.notification.client_to_server",
        "notifications/initialized",
    ),
    (
        "notifications/progress",
        CLIENT,
        {"mcp.method.name": "notifications/progress", "mcp.session.id": "1"},
        "mcp.notification.client_to_server",
        "notifications/progress",
    ),
    ("something", SERVER, {}, "function", "something"),
    ("BackgroundTask mail", INTERNAL, {}, "function", "BackgroundTask mail"),
]


@pytest.mark.parametrize(("name", "kind", "attributes", "op", "text"), CASES, ids=lambda each: str(each)[:40])
def test_op_and_description(name: str, kind: SpanKind, attributes: dict[str, Any], op: str, text: str) -> None:
    """Each op is one that Sentry knows."""
    made = span(name, kind, attributes)
    assert (operations.operation(made), operations.description(made)) == (op, text)
    assert op in OPS


def test_every_convention_has_a_case() -> None:
    """A row that nothing tests is a row that nobody needs."""
    tested = {operations.convention_of(attributes) for _, _, attributes, _, _ in CASES}
    assert [each.keys for each in CONVENTIONS if each not in tested] == [("cache.key",)]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"rpc.system": "grpc"}, {"rpc.system.name": "grpc"}),
        ({"messaging.system": "kafka", "messaging.operation": "publish"}, {"messaging.operation.type": "publish"}),
        ({"messaging.system": "kafka", "messaging.message_id": "7"}, {"messaging.message.id": "7"}),
        (
            {"gen_ai.operation.name": "chat", **AGENT},
            {"gen_ai.operation.type": "ai_client", "gen_ai.usage.total_tokens": 7},
        ),
        (
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.system": "openai"},
            {"gen_ai.operation.type": "agent", "gen_ai.provider.name": "openai"},
        ),
        (
            {"gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.completion_tokens": 2},
            {"gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 2, "gen_ai.usage.total_tokens": 3},
        ),
        (
            {"db.system.name": "redis", "brain_otel.cache.hit": True, "brain_otel.cache.item_size": 5, **CACHED},
            {"cache.key": ["cart:1", "cart:2"], "cache.hit": True, "cache.item_size": 5},
        ),
        ({"cache.key": "cart:1", "cache.hit": False}, {"cache.key": ["cart:1"], "cache.hit": False}),
        ({"db.system.name": "sqlite"}, {"db.system": "sqlite"}),
        ({"http.method": "GET", "http.status_code": 200}, {"http.response.status_code": 200}),
    ],
)
def test_data(attributes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Has what the views read, under Sentry's names."""
    found = data(span("a", CLIENT, attributes))
    assert found | expected == found
    assert found["sentry.kind"] == "client"
    assert not any(name.startswith("brain_otel.") for name in found)


@pytest.mark.parametrize(
    ("kind", "attributes", "category"),
    [
        (SERVER, {"http.request.method": "GET"}, "http"),
        (CLIENT, {"db.system.name": "redis"}, "db"),
        (SERVER, {"rpc.system.name": "grpc"}, "rpc"),
        (CONSUMER, {"messaging.system": "kafka"}, "queue"),
        (CLIENT, {"gen_ai.operation.name": "chat"}, "ai"),
        (SERVER, {}, "function"),
    ],
)
def test_origin(kind: SpanKind, attributes: dict[str, Any], category: str) -> None:
    """A span of a server that is none of HTTP is not called one."""
    made = span("a", kind, attributes, "opentelemetry.instrumentation.shop")
    assert origin(made) == f"auto.{category}.otel.shop"
