"""OpenTelemetry's old and stable conventions in Sentry's protocol, with spans of the SDK."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from sentry_sdk.consts import SPANSTATUS

from brain_otel.sentry import span_fields
from brain_otel.traces import conventions, operations
from brain_otel.traces.local_trace import LocalTrace, Name

PROVIDER = TracerProvider(shutdown_on_exit=False)
CONTRIB = "opentelemetry.instrumentation."

CLIENT, SERVER, INTERNAL = SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL
PRODUCER, CONSUMER = SpanKind.PRODUCER, SpanKind.CONSUMER


def span(
    name: str = "name",
    attributes: dict[str, Any] | None = None,
    kind: SpanKind = INTERNAL,
    *,
    status: Status | None = None,
    scope: str = "test",
    links: list[Link] | None = None,
) -> ReadableSpan:
    made = PROVIDER.get_tracer(scope).start_span(name, kind=kind, attributes=attributes, links=links)
    if status is not None:
        made.set_status(status)
    made.end()
    assert isinstance(made, ReadableSpan)
    return made


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "expected"),
    [
        ("GET /a", SERVER, {"http.method": "GET"}, "http.server"),
        ("GET /a", SERVER, {"http.request.method": "GET"}, "http.server"),
        ("GET /a", INTERNAL, {"http.request.method": "GET"}, "http.server"),
        ("GET", CLIENT, {"http.method": "GET"}, "http.client"),
        ("GET", CLIENT, {"http.request.method": "GET"}, "http.client"),
        ("SELECT", CLIENT, {"db.system": "postgresql", "db.statement": "SELECT 1"}, "db"),
        ("SELECT", CLIENT, {"db.system.name": "sqlite", "db.query.text": "SELECT 1"}, "db"),
        ("GET", CLIENT, {"db.system": "redis"}, "db.redis"),
        ("GET", CLIENT, {"db.system.name": "redis"}, "db.redis"),
        ("connect", CLIENT, {"db.system": "postgresql"}, "db"),
        ("connect", CLIENT, {"db.system.name": "postgresql"}, "db"),
        ("connect", CLIENT, {"db.system": "postgresql", "db.statement": "SELECT 1"}, "db"),
        ("/chat", SERVER, {"url.scheme": "ws"}, "websocket"),
        ("Greeter/Hello", SERVER, {"rpc.system": "grpc"}, "grpc.server"),
        ("Greeter/Hello", CLIENT, {"rpc.system": "grpc"}, "grpc.client"),
        ("orders", PRODUCER, {"messaging.system": "kafka"}, "queue.publish"),
        ("orders", CONSUMER, {"messaging.system": "kafka"}, "queue.process"),
        ("chat gpt", CLIENT, {"gen_ai.operation.name": "chat"}, "gen_ai.chat"),
        ("BackgroundTask send_mail", INTERNAL, {}, "function"),
        ("fastapi.background_task", INTERNAL, {}, "function"),
        ("anything", INTERNAL, {}, "function"),
        ("anything", CLIENT, {}, "function"),
        ("GET /a", SERVER, {"http.request.method": "GET", "sentry.op": "task.run"}, "task.run"),
    ],
)
def test_operations(name: str, kind: SpanKind, attributes: dict[str, Any], expected: str) -> None:
    """Each kind of span has Sentry's op in either convention; an explicit op wins."""
    assert operations.operation(span(name, attributes, kind)) == expected


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "expected"),
    [
        ("GET", CLIENT, {"http.method": "GET", "http.url": "http://b:1/c?token=x#f"}, "GET http://b:1/c"),
        ("GET", CLIENT, {"http.request.method": "GET", "url.full": "http://u:p@b/c?d=1"}, "GET http://b/c"),
        ("GET", CLIENT, {"http.request.method": "GET", "url.full": "http://[b/c?d=1"}, "GET http://[b/c"),
        ("peer", CLIENT, {"http.request.method": "PUT"}, "PUT peer"),
        ("GET /a/{b}", SERVER, {"http.request.method": "GET", "http.route": "/a/{b}"}, "GET /a/{b}"),
        ("SELECT shop", CLIENT, {"db.system": "sqlite", "db.statement": "SELECT 1"}, "SELECT 1"),
        ("SELECT shop", CLIENT, {"db.system.name": "sqlite", "db.query.text": "SELECT 2"}, "SELECT 2"),
        ("GET", CLIENT, {"db.system.name": "redis", "db.query.text": "GET ?"}, "GET ?"),
        ("connect", CLIENT, {"db.system": "sqlite"}, "connect"),
        ("work", INTERNAL, {}, "work"),
    ],
)
def test_descriptions(name: str, kind: SpanKind, attributes: dict[str, Any], expected: str) -> None:
    """The statement, the method and address without query and credentials, or the name."""
    assert operations.description(span(name, attributes, kind)) == expected


ROUTE = {"http.route": "/users/{user_id}"}
NEW, OLD = {"http.request.method": "GET"}, {"http.method": "GET"}


@pytest.mark.parametrize(
    ("name", "attributes", "text", "source"),
    [
        ("GET /users/{user_id}", {**NEW, **ROUTE}, "GET /users/{user_id}", "route"),
        ("GET /users/{user_id}", {**OLD, **ROUTE}, "GET /users/{user_id}", "route"),
        ("/users/{user_id}", ROUTE, "/users/{user_id}", "route"),
        ("HTTP /users/{user_id}", {"http.request.method": "_OTHER", **ROUTE}, "HTTP /users/{user_id}", "route"),
        ("checkout", {**NEW, **ROUTE}, "checkout", "custom"),
        ("GET", {**NEW, "url.path": "/no/such"}, "GET /no/such", "url"),
        ("GET", {**OLD, "http.target": "/no/such?token=x"}, "GET /no/such", "url"),
        ("GET", {**NEW, "url.full": "http://a/no/such?token=x"}, "GET /no/such", "url"),
        ("GET", {**OLD, "http.url": "http://a?x=1"}, "GET /", "url"),
        ("GET", NEW, "GET", "url"),
        ("HTTP", {"http.request.method": "_OTHER"}, "HTTP", "url"),
        ("GET something", NEW, "GET something", "custom"),
        ("process", {}, "process", "custom"),
        ("process", {"sentry.source": "task"}, "process", "task"),
        ("GET", {**NEW, "sentry.source": "route"}, "GET", "route"),
    ],
)
def test_transaction_names(name: str, attributes: dict[str, Any], text: str, source: str) -> None:
    """The source is the route, the raw path, or custom for a name from code."""
    assert conventions.transaction_name(name, attributes) == Name(text=text, source=source)


def test_an_unsampled_trace_has_the_name_that_describes_it() -> None:
    """So its errors have the name that its transaction would have."""
    described = Name(text="GET /a", source="route")
    trace = LocalTrace(kind="request", describe=lambda: described)
    assert conventions.name_of(trace) == described
    trace.start(otel_trace.INVALID_SPAN, None)
    assert conventions.name_of(trace) == described
    assert conventions.name_of(LocalTrace(kind="implicit")) is None
    recorded = LocalTrace(kind="request", describe=lambda: described)
    recorded.start(PROVIDER.get_tracer("test").start_span("GET /b", attributes={**NEW, "http.route": "/b"}), None)
    assert conventions.name_of(recorded) == Name(text="GET /b", source="route")


ERROR, OK, UNSET = Status(StatusCode.ERROR), Status(StatusCode.OK), None


@pytest.mark.parametrize(
    ("attributes", "status", "expected"),
    [
        ({}, UNSET, "ok"),
        ({}, OK, "ok"),
        ({}, ERROR, "internal_error"),
        ({}, Status(StatusCode.ERROR, "ValueError: no"), "internal_error"),
        ({}, Status(StatusCode.ERROR, "not_found"), "not_found"),
        ({}, Status(StatusCode.ERROR, "deadline_exceeded"), "deadline_exceeded"),
        *(({key: 200}, UNSET, "ok") for key in ("http.status_code", "http.response.status_code")),
        *(({key: 302}, UNSET, "ok") for key in ("http.status_code", "http.response.status_code")),
        *(({key: 404}, UNSET, "not_found") for key in ("http.status_code", "http.response.status_code")),
        *(({key: 404}, ERROR, "not_found") for key in ("http.status_code", "http.response.status_code")),
        ({"http.response.status_code": 400}, UNSET, "invalid_argument"),
        ({"http.response.status_code": 401}, UNSET, "unauthenticated"),
        ({"http.response.status_code": 403}, UNSET, "permission_denied"),
        ({"http.response.status_code": 409}, UNSET, "already_exists"),
        ({"http.response.status_code": 429}, UNSET, "resource_exhausted"),
        ({"http.response.status_code": 500}, ERROR, "internal_error"),
        ({"http.response.status_code": 501}, ERROR, "unimplemented"),
        ({"http.response.status_code": 503}, ERROR, "unavailable"),
        ({"http.response.status_code": 504}, ERROR, "deadline_exceeded"),
        ({"http.response.status_code": 200}, ERROR, "internal_error"),
        ({"http.response.status_code": 200}, Status(StatusCode.ERROR, "cancelled"), "cancelled"),
        ({"http.response.status_code": "200"}, UNSET, "ok"),
        ({"rpc.grpc.status_code": 0}, UNSET, "ok"),
        ({"rpc.grpc.status_code": 1}, ERROR, "cancelled"),
        ({"rpc.grpc.status_code": 5}, ERROR, "not_found"),
        ({"rpc.grpc.status_code": 16}, ERROR, "unauthenticated"),
        ({"rpc.grpc.status_code": 17}, ERROR, "internal_error"),
        ({"rpc.grpc.status_code": -1}, UNSET, "ok"),
    ],
)
def test_statuses(attributes: dict[str, Any], status: Status | None, expected: str) -> None:
    """From HTTP's and gRPC's code, else from OpenTelemetry's status."""
    assert span_fields.status(span(attributes=attributes, status=status)) == expected
    assert expected in span_fields._STATUSES


def test_the_statuses_are_those_of_sentry_sdk() -> None:
    """Pins sentry-sdk's list."""
    assert {"ok", "internal_error", "not_found", "unavailable"} <= span_fields._STATUSES
    assert SPANSTATUS.UNAUTHENTICATED in span_fields._STATUSES


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"http.method": "GET", "http.status_code": 200}, ("GET", 200)),
        ({"http.request.method": "GET", "http.response.status_code": 200}, ("GET", 200)),
    ],
)
def test_data_has_the_names_that_sentry_reads(attributes: dict[str, Any], expected: tuple[str, int]) -> None:
    """Attributes of the old convention are added under the new names; none is removed."""
    data = span_fields.data(span(attributes=attributes))
    assert (data["http.request.method"], data["http.response.status_code"]) == expected
    assert attributes.items() <= data.items()


def test_data_of_databases_has_the_names_that_sentry_reads() -> None:
    """Sentry's database view reads `db.system`, `db.name` and `server.address`."""
    new = {"db.system.name": "postgresql", "db.namespace": "shop", "server.address": "db", "server.port": 5432}
    old = {"db.system": "postgresql", "db.name": "shop", "net.peer.name": "db", "net.peer.port": 5432}
    for attributes in (new, old):
        data = span_fields.data(span(attributes=attributes, kind=CLIENT))
        assert data["db.system"] == "postgresql"
        assert data["db.name"] == "shop"
        assert (data["server.address"], data["server.port"]) == ("db", 5432)
        assert data["sentry.kind"] == "client"


def test_data_keeps_events_and_the_status_description() -> None:
    """The event of an exception, the description of a failure, and the type of each value."""
    made = PROVIDER.get_tracer("test").start_span("work", attributes={"list": ["a", "b"], "truth": True, "n": 1.5})
    made.add_event("retry", {"attempt": 2}, timestamp=1_700_000_000_123_456_000)
    made.record_exception(ValueError("no"))
    made.add_event("brain_otel.breadcrumb", {"brain_otel.breadcrumb.message": "step"})
    made.set_status(Status(StatusCode.ERROR, "it broke"))
    made.end()
    assert isinstance(made, ReadableSpan)
    data = span_fields.data(made)
    assert (data["list"], data["truth"], data["n"]) == (["a", "b"], True, 1.5)
    assert data["otel.status_description"] == "it broke"
    assert "sentry.kind" not in data
    retry, failure = data["otel.events"]
    assert retry == {"name": "retry", "timestamp": 1_700_000_000.123456, "attributes": {"attempt": 2}}
    assert failure["name"] == "exception"
    assert failure["attributes"]["exception.type"] == "ValueError"
    assert "otel.dropped_attributes_count" not in data


def test_our_own_attributes_are_not_data() -> None:
    """Sentry's own fields have them."""
    assert span_fields.data(span(attributes={"sentry.op": "x", "sentry.source": "task", "a": 1})) == {"a": 1}


def test_links_have_sentrys_form() -> None:
    """Ids in hexadecimal, the flag as a boolean, and attributes if there are any."""
    one = SpanContext(0xA, 0xB, is_remote=True, trace_flags=TraceFlags(1))
    two = SpanContext(0xC, 0xD, is_remote=False)
    found = span_fields.links(span(links=[Link(one, {"reason": "retry", "ids": [1, 2]}), Link(two)]))
    assert found == [
        {
            "trace_id": f"{0xA:032x}",
            "span_id": f"{0xB:016x}",
            "sampled": True,
            "attributes": {"reason": "retry", "ids": [1, 2]},
        },
        {"trace_id": f"{0xC:032x}", "span_id": f"{0xD:016x}", "sampled": False},
    ]


@pytest.mark.parametrize(
    ("scope", "kind", "attributes", "expected"),
    [
        (CONTRIB + "fastapi", SERVER, NEW, "auto.http.otel.fastapi"),
        ("fastapi", SERVER, NEW, "auto.http.otel.fastapi"),
        (CONTRIB + "httpx", CLIENT, OLD, "auto.http.otel.httpx"),
        (CONTRIB + "sqlalchemy", CLIENT, {"db.system": "sqlite"}, "auto.db.otel.sqlalchemy"),
        (CONTRIB + "redis", CLIENT, {"db.system.name": "redis"}, "auto.db.otel.redis"),
        (CONTRIB + "aio_pika.thing", INTERNAL, {}, "auto.function.otel.aio_pika"),
        ("brain_otel", INTERNAL, {}, "manual"),
        ("shop.orders", CLIENT, OLD, "manual"),
    ],
)
def test_origins(scope: str, kind: SpanKind, attributes: dict[str, Any], expected: str) -> None:
    """The library that made the span, in Sentry's form; the application's spans are manual."""
    assert span_fields.origin(span(attributes=attributes, kind=kind, scope=scope)) == expected


KEYS = st.sampled_from(
    [
        "http.method",
        "http.request.method",
        "http.status_code",
        "http.response.status_code",
        "http.route",
        "url.full",
        "http.url",
        "url.path",
        "http.target",
        "db.system",
        "db.system.name",
        "db.statement",
        "rpc.system",
        "rpc.grpc.status_code",
        "gen_ai.operation.name",
        "sentry.op",
        "sentry.source",
        "x",
    ]
)
VALUES = (
    st.text(max_size=20)
    | st.integers(-(2**40), 2**40)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.lists(st.text(max_size=5), max_size=3)
    | st.binary(max_size=5)
)


@given(st.dictionaries(KEYS, VALUES, max_size=8), st.sampled_from(SpanKind), st.text(min_size=1, max_size=20))
def test_any_attributes_can_be_read(attributes: dict[str, Any], kind: SpanKind, name: str) -> None:
    """An odd value of a library never discards the transaction."""
    made = span(name, attributes, kind)
    assert isinstance(operations.operation(made), str)
    assert isinstance(operations.description(made), str)
    assert span_fields.status(made) in span_fields._STATUSES
    assert isinstance(span_fields.origin(made), str)
    assert isinstance(conventions.transaction_name(name, made.attributes or {}).text, str)
    for value in span_fields.data(made).values():
        assert not isinstance(value, bytes | tuple)
        assert not isinstance(value, float) or math.isfinite(value) or value in attributes.values()
